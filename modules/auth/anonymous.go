package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Anonymous is what requests without credentials may do.
type Anonymous struct {
	// Workspace is the one that they belong to. Placeholders are expanded when the
	// configuration is loaded.
	Workspace string `json:"workspace,omitempty"`
	// Permissions are those that they have. They can only read: whatever changes
	// something needs credentials (docs/api.md §2.7).
	Permissions []string `json:"permissions,omitempty"`

	workspace string // expanded
}

// anonymousPermissions are those that a caller without credentials can have.
var anonymousPermissions = []string{osa.PermEventsRead, osa.PermOPALRead, osa.PermServicesRead, osa.PermAllWorkspaces}

func (a *Anonymous) provision() { a.workspace = caddy.NewReplacer().ReplaceAll(a.Workspace, "") }

func (a *Anonymous) validate() error {
	var errs []error
	if !osa.ValidWorkspace(a.workspace) {
		errs = append(errs, osa.InvalidWorkspace("anonymous", a.Workspace))
	}
	if len(a.Permissions) == 0 {
		errs = append(errs, errors.New("anonymous: no permission is named"))
	}
	for _, p := range a.Permissions {
		if !slices.Contains(anonymousPermissions, p) {
			errs = append(errs, fmt.Errorf("anonymous: callers without credentials cannot have %q; they can have %s",
				p, strings.Join(anonymousPermissions, ", ")))
		}
	}
	return errors.Join(errs...)
}
