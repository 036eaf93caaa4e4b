package osa

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// DefaultWorkspace is the workspace where nothing names one.
const DefaultWorkspace = "default"

const maxWorkspace = 128

// ExpandWorkspace expands the workspace that a secret or key is configured with;
// none means the environment variable OPAL_WORKSPACE_ID, then DefaultWorkspace.
func ExpandWorkspace(repl *caddy.Replacer, value string) string {
	if value != "" {
		return repl.ReplaceAll(value, "")
	}
	if w := repl.ReplaceAll("{env.OPAL_WORKSPACE_ID}", ""); w != "" {
		return w
	}
	return DefaultWorkspace
}

// ValidWorkspace reports whether the id can name a workspace: 1 to 128 bytes,
// no control characters.
func ValidWorkspace(id string) bool {
	return id != "" && len(id) <= maxWorkspace && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// InvalidWorkspace says that a setting does not name a workspace. value is as it
// was configured, before placeholders were expanded.
func InvalidWorkspace(name, value string) error {
	return fmt.Errorf("%s does not name a workspace: it must be 1 to %d bytes without control characters", DescribeSetting(name, value), maxWorkspace)
}
