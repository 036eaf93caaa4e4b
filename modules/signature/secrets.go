package signature

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/signature"
)

// Every request costs an HMAC for each active secret.
const maxSecrets = 16

// Secret is one secret as it is configured. Placeholders such as
// {env.OSA_WEBHOOK_SHARED_SECRET} and {file./run/secrets/opal} are expanded when
// the configuration is loaded; whatever else it says is the secret itself.
type Secret struct {
	// ID names the secret in logs and metrics.
	ID string `json:"id,omitempty"`
	// Value is the secret: at least 32 characters that nobody can guess.
	Value string `json:"value,omitempty"`
	// Workspace is what events signed with it belong to; default is the
	// environment variable OPAL_WORKSPACE_ID, then `default`.
	Workspace string `json:"workspace,omitempty"`
	// NotBefore and NotAfter, as RFC 3339, are from when to when it holds.
	NotBefore string `json:"not_before,omitempty"`
	NotAfter  string `json:"not_after,omitempty"`
}

type opened struct {
	secret    *signature.Secret
	workspace string
	ended     bool
}

// openSecrets expands and checks the secrets, and returns all that is wrong with
// them. No error contains a secret.
func openSecrets(secrets []Secret) (all []opened, problems []error) {
	if len(secrets) == 0 {
		problems = append(problems, errors.New("no secret is configured: nobody could sign"))
	}
	if len(secrets) > maxSecrets {
		problems = append(problems, fmt.Errorf("%d secrets are configured; at most %d can be", len(secrets), maxSecrets))
	}
	repl := caddy.NewReplacer()
	ids := make(map[string]bool)
	values := make(map[[sha256.Size]byte]string)
	for _, s := range secrets {
		switch {
		case !validID(s.ID):
			problems = append(problems, fmt.Errorf("secret id %q: want 1 to 64 letters, digits, dots, dashes or underscores", s.ID))
		case ids[s.ID]:
			problems = append(problems, fmt.Errorf("secret id %q is used twice", s.ID))
		}
		ids[s.ID] = true

		value := repl.ReplaceAll(s.Value, "")
		if err := signature.CheckSecret(describe(s), value); err != nil {
			problems = append(problems, err)
		} else {
			// The same secret under two ids would leave open whose it is.
			sum := sha256.Sum256([]byte(value))
			if other, ok := values[sum]; ok {
				problems = append(problems, fmt.Errorf("secrets %q and %q are the same; give each sender its own", other, s.ID))
			}
			values[sum] = s.ID
		}

		o := opened{workspace: workspace(repl, s.Workspace)}
		if !validWorkspace(o.workspace) {
			problems = append(problems, fmt.Errorf("secret %q: workspace expands to nothing, to more than 128 characters or to control characters", s.ID))
		}
		notBefore, err := parseTime(s.ID, "not_before", s.NotBefore)
		if err != nil {
			problems = append(problems, err)
		}
		notAfter, err := parseTime(s.ID, "not_after", s.NotAfter)
		if err != nil {
			problems = append(problems, err)
		}
		if !notAfter.IsZero() && notAfter.Before(notBefore) {
			problems = append(problems, fmt.Errorf("secret %q: not_after is before not_before, so that it would never hold", s.ID))
		}
		o.secret = signature.NewSecret(s.ID, []byte(value), notBefore, notAfter)
		o.ended = !notAfter.IsZero() && notAfter.Before(time.Now())
		all = append(all, o)
	}
	return all, problems
}

// describe names the secret the way the operator set it.
func describe(s Secret) string {
	name := fmt.Sprintf("secret %q", s.ID)
	if env, ok := placeholder(s.Value, "{env."); ok {
		return name + " (environment variable " + env + ")"
	}
	if file, ok := placeholder(s.Value, "{file."); ok {
		return name + " (file " + file + ", which may be missing or unreadable)"
	}
	return name
}

func placeholder(value, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(value, prefix)
	if !ok {
		return "", false
	}
	key, tail, ok := strings.Cut(rest, "}")
	return key, ok && tail == ""
}

func workspace(repl *caddy.Replacer, value string) string {
	if value != "" {
		return repl.ReplaceAll(value, "")
	}
	if w := repl.ReplaceAll("{env.OPAL_WORKSPACE_ID}", ""); w != "" {
		return w
	}
	return "default"
}

func parseTime(id, option, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("secret %q: %s is %q; want a time such as 2026-12-31T23:59:59Z", id, option, value)
	}
	return t, nil
}

func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return id != "" && len(id) <= 64
}

func validWorkspace(w string) bool {
	return w != "" && len(w) <= 128 && !strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r == 0x7f })
}
