package signature

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/signature"
)

// Every request costs an HMAC for each active secret.
const maxSecrets = 16

// Secret is one secret as it is configured. Placeholders such as
// {env.OSA_WEBHOOK_SHARED_SECRET} and {file./run/secrets/opal} are expanded when
// the configuration is loaded, and again when the file has changed; whatever else
// it says is the secret itself.
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
	sum       [sha256.Size]byte // of the secret
	ended     bool
}

// filesOf are the files that the secrets are in.
func filesOf(secrets []Secret) []string {
	var values []string
	for _, s := range secrets {
		values = append(values, s.Value, s.Workspace)
	}
	return osa.FilesIn(values...)
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
		case !osa.ValidName(s.ID):
			problems = append(problems, fmt.Errorf("secret id %q: want 1 to 64 letters, digits, dots, dashes or underscores", s.ID))
		case ids[s.ID]:
			problems = append(problems, fmt.Errorf("secret id %q is used twice", s.ID))
		}
		ids[s.ID] = true

		value := repl.ReplaceAll(s.Value, "")
		sum := sha256.Sum256([]byte(value))
		if err := signature.CheckSecret(osa.DescribeSetting(fmt.Sprintf("secret %q", s.ID), s.Value), value); err != nil {
			problems = append(problems, err)
		} else {
			// The same secret under two ids would leave open whose it is.
			if other, ok := values[sum]; ok {
				problems = append(problems, fmt.Errorf("secrets %q and %q are the same; give each sender its own", other, s.ID))
			}
			values[sum] = s.ID
		}

		o := opened{sum: sum, workspace: osa.ExpandWorkspace(repl, s.Workspace)}
		if !osa.ValidWorkspace(o.workspace) {
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
