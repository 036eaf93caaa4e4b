// Package simulator is the directive osa_simulator, which takes the place of the OPAL
// platform in development. It accepts triggers of Force Sync, runs the nine agents of
// strategy_workflow in three phases and sends signed webhooks. All agents succeed and all
// webhooks arrive unless you configure faults.
package simulator

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/signature"
)

func init() { caddy.RegisterModule(new(Simulator)) }

// Defaults of Simulator.
const (
	DefaultSecret   = "{env.OSA_WEBHOOK_SHARED_SECRET}"
	DefaultDuration = 6 * time.Second
)

// Simulator takes the place of OPAL. It runs in development only.
type Simulator struct {
	// AuthKey is the bearer key that triggers must have; default is the auth_key of
	// opal in the osa app.
	AuthKey string `json:"auth_key,omitempty"`
	// Secret signs the webhooks; default {env.OSA_WEBHOOK_SHARED_SECRET}.
	Secret string `json:"secret,omitempty"`
	// Duration is how long a workflow takes, under 20 s; default 6s.
	Duration caddy.Duration `json:"duration,omitempty"`
	Faults

	key, secret string
	baseHost    string // of the gateway
	ctx         caddy.Context
	development bool
	joined      bool
	runner      *Runner
}

// runners has the only runner of the process, with the number of configurations that use
// it. Workflows continue across a reload.
var runners = caddy.NewUsagePool()

const runnerKey = "simulator"

// Destruct implements caddy.Destructor.
func (r *Runner) Destruct() error {
	r.Stop()
	return nil
}

// CaddyModule returns the Caddy module information.
func (*Simulator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_simulator", New: func() caddy.Module { return new(Simulator) }}
}

// Provision sets defaults and joins the runner.
func (s *Simulator) Provision(ctx caddy.Context) error {
	s.ctx = ctx
	app, err := osa.Of(ctx)
	if err != nil {
		return err
	}
	s.development = app.Development()
	s.setDefaults(caddy.NewReplacer(), app)
	value, _, err := runners.LoadOrNew(runnerKey, func() (caddy.Destructor, error) {
		return NewRunner(caddy.Log().Named("osa.simulator")), nil
	})
	if err != nil {
		return fmt.Errorf("joining the runner: %w", err)
	}
	s.runner, s.joined = value.(*Runner), true
	return nil
}

func (s *Simulator) setDefaults(repl *caddy.Replacer, app *osa.App) {
	if s.Secret == "" {
		s.Secret = DefaultSecret
	}
	s.secret = strings.TrimSpace(repl.ReplaceAll(s.Secret, ""))
	if s.key = strings.TrimSpace(repl.ReplaceAll(s.AuthKey, "")); s.AuthKey == "" {
		s.key = app.OPAL().AuthKey
	}
	if u, err := url.Parse(app.BaseURL()); err == nil {
		s.baseHost = u.Host
	}
	if s.Duration == 0 {
		s.Duration = caddy.Duration(DefaultDuration)
	}
}

// Validate names everything that is wrong at once.
func (s *Simulator) Validate() error {
	if !s.development {
		return osa.ConfigErrors(s.ctx, errors.New("osa_simulator runs in development only: remove it, or set OSA_ENV=development"))
	}
	errs := []error{
		signature.CheckSecret("auth_key (OPAL_STRATEGY_WORKFLOW_AUTH_KEY)", s.key),
		signature.CheckSecret("secret (OSA_WEBHOOK_SHARED_SECRET)", s.secret),
		s.Check(),
	}
	if d := time.Duration(s.Duration); d < 0 || d >= maxConfigured {
		errs = append(errs, fmt.Errorf("duration is %v; it must be under %v", d, maxConfigured))
	}
	if err := errors.Join(errs...); err != nil {
		return osa.ConfigErrors(s.ctx, fmt.Errorf("osa_simulator: %w", err))
	}
	return nil
}

// Cleanup releases the runner. It stops with the last configuration that uses it.
func (s *Simulator) Cleanup() error {
	if !s.joined {
		return nil
	}
	s.joined = false
	_, err := runners.Delete(runnerKey)
	return err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Simulator)(nil)
	_ caddy.Validator             = (*Simulator)(nil)
	_ caddy.CleanerUpper          = (*Simulator)(nil)
	_ caddy.Destructor            = (*Runner)(nil)
	_ caddyhttp.MiddlewareHandler = (*Simulator)(nil)
)
