// Package opal is everything that talks to the OPAL platform: here, Force Sync.
package opal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Sync)) }

// Defaults of Sync.
const (
	DefaultWebhookURL   = "{env.OPAL_WEBHOOK_URL}"
	DefaultAuthKey      = "{env.OPAL_STRATEGY_WORKFLOW_AUTH_KEY}"
	DefaultWorkspaceID  = "{env.OPAL_WORKSPACE_ID}"
	DefaultBaseURL      = "{env.BASE_URL}"
	DefaultCallbackPath = "/api/webhooks/opal-workflow"
	DefaultAnswerAfter  = 1500 * time.Millisecond
	DefaultRunTimeout   = 10 * time.Minute
)

// maxAnswerAfter keeps the answer well before the deadlines of Caddy and of
// those who ask.
const maxAnswerAfter = 25 * time.Second

// Sync is the handler of Force Sync. GET reports what is configured and how the
// current run stands; POST triggers strategy_workflow at OPAL.
//
// What only Force Sync needs and lacks does not stop the gateway from starting:
// GET and POST report it.
type Sync struct {
	// WebhookURL is where OPAL takes triggers; default {env.OPAL_WEBHOOK_URL}.
	WebhookURL string `json:"webhook_url,omitempty"`
	// AuthKey is the bearer key for it; default
	// {env.OPAL_STRATEGY_WORKFLOW_AUTH_KEY}.
	AuthKey string `json:"auth_key,omitempty"`
	// WorkspaceID is the workspace that runs belong to; default
	// {env.OPAL_WORKSPACE_ID}.
	WorkspaceID string `json:"workspace_id,omitempty"`
	// BaseURL is how OPAL reaches this gateway; default {env.BASE_URL}.
	BaseURL string `json:"base_url,omitempty"`
	// CallbackPath is where on BaseURL callbacks go; default
	// /api/webhooks/opal-workflow.
	CallbackPath string `json:"callback_path,omitempty"`
	// AnswerAfter is how long OPAL may be silent before the request is answered
	// with in_progress; default 1.5s.
	AnswerAfter caddy.Duration `json:"answer_after,omitempty"`
	// RunTimeout ends a run that nothing was heard of; default 10m.
	RunTimeout caddy.Duration `json:"run_timeout,omitempty"`

	ctx      caddy.Context
	settings Settings
	app      app
	runner   *Runner
	key      runnerKey
	resumed  chan struct{} // closed when the goroutine that resumes has ended
	cancel   context.CancelFunc
}

// app is what of the osa app is used.
type app interface {
	Log(context.Context) (log *eventlog.Log, done func(), err error)
}

// runners are the runners of this process, counted by the configurations that
// use them: a reload provisions the new configuration before it cleans up the
// old one, so calls under way go on.
var runners = caddy.NewUsagePool()

type runnerKey struct{ store, workspace string }

// Destruct implements caddy.Destructor.
func (r *Runner) Destruct() error {
	r.Stop()
	return nil
}

// CaddyModule returns the Caddy module information.
func (*Sync) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_sync", New: func() caddy.Module { return new(Sync) }}
}

// Provision sets defaults and joins the runner of the workspace.
func (s *Sync) Provision(ctx caddy.Context) error {
	s.ctx = ctx
	app, err := osa.Of(ctx)
	if err != nil {
		return err
	}
	s.setDefaults()
	s.settings = s.expand(caddy.NewReplacer())
	s.settings.Production = !app.Development()
	s.app = app
	for _, problem := range s.settings.Report().Problems {
		ctx.Logger().Warn("force sync is not ready", zap.String("problem", problem))
	}
	if checkWorkspace(s.settings.WorkspaceID) != nil {
		return nil //nolint:nilerr // GET and POST say so
	}
	store, err := app.StoreKey()
	if err != nil {
		return err
	}
	return s.join(store)
}

func (s *Sync) setDefaults() {
	for _, o := range []struct {
		field    *string
		fallback string
	}{
		{&s.WebhookURL, DefaultWebhookURL},
		{&s.AuthKey, DefaultAuthKey},
		{&s.WorkspaceID, DefaultWorkspaceID},
		{&s.BaseURL, DefaultBaseURL},
		{&s.CallbackPath, DefaultCallbackPath},
	} {
		if *o.field == "" {
			*o.field = o.fallback
		}
	}
	if s.AnswerAfter == 0 {
		s.AnswerAfter = caddy.Duration(DefaultAnswerAfter)
	}
	if s.RunTimeout == 0 {
		s.RunTimeout = caddy.Duration(DefaultRunTimeout)
	}
}

func (s *Sync) expand(repl *caddy.Replacer) Settings {
	value := func(s string) string { return strings.TrimSpace(repl.ReplaceAll(s, "")) }
	return Settings{
		WebhookURL: value(s.WebhookURL), AuthKey: value(s.AuthKey), WorkspaceID: value(s.WorkspaceID),
		BaseURL: value(s.BaseURL), CallbackPath: value(s.CallbackPath),
	}
}

// join takes part in the workspace's runner and has it go on with a run that an
// earlier process left behind, once the log is open.
func (s *Sync) join(store string) error {
	s.key = runnerKey{store, s.settings.WorkspaceID}
	value, _, err := runners.LoadOrNew(s.key, func() (caddy.Destructor, error) {
		// It outlives the configuration, and so does its logger.
		return NewRunner(s.key.workspace, NewClient(nil), caddy.Log().Named("osa.sync")), nil
	})
	if err != nil {
		return fmt.Errorf("joining the runner: %w", err)
	}
	s.runner = value.(*Runner)
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.resumed = make(chan struct{})
	go func() {
		defer close(s.resumed)
		s.resume(ctx)
	}()
	return nil
}

// resume waits for the log, which `caddy validate` never opens: Cleanup ends it.
func (s *Sync) resume(ctx context.Context) {
	for {
		log, done, err := s.app.Log(ctx)
		if err == nil {
			err = s.runner.Resume(ctx, log)
			done()
		}
		if err == nil || errors.Is(err, eventlog.ErrClosed) || !pause(ctx, time.Second) {
			return
		}
	}
}

// Validate checks what is not a setting of Force Sync but of the gateway.
func (s *Sync) Validate() error {
	var errs []error
	if d := time.Duration(s.AnswerAfter); d < 0 || d > maxAnswerAfter {
		errs = append(errs, fmt.Errorf("answer_after is %v; it must be positive and at most %v", d, maxAnswerAfter))
	}
	if d := time.Duration(s.RunTimeout); d < time.Second || d > secondsPerDay*time.Second {
		errs = append(errs, fmt.Errorf("run_timeout is %v; it must be from 1s to 24h", d))
	}
	if path := s.expand(caddy.NewReplacer()).CallbackPath; !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?# ") {
		errs = append(errs, fmt.Errorf("%s is %q; it must be a path that begins with /", osa.DescribeSetting("callback_path", s.CallbackPath), path))
	}
	if err := errors.Join(errs...); err != nil {
		return osa.ConfigErrors(s.ctx, fmt.Errorf("osa_sync: %w", err))
	}
	return nil
}

// Cleanup leaves the runner, which ends with its last configuration. Requests of
// this configuration may still be under way and find it stopped.
func (s *Sync) Cleanup() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	<-s.resumed
	_, err := runners.Delete(s.key)
	return err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Sync)(nil)
	_ caddy.Validator             = (*Sync)(nil)
	_ caddy.CleanerUpper          = (*Sync)(nil)
	_ caddy.Destructor            = (*Runner)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sync)(nil)
)
