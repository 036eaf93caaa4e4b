// Package sync is the directive osa_sync: Force Sync, which has OPAL run
// strategy_workflow and follows the run to its end.
package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Sync)) }

// DefaultAnswerAfter is the default of Sync.AnswerAfter.
const DefaultAnswerAfter = 1500 * time.Millisecond

// maxAnswerAfter is the longest AnswerAfter. It is shorter than the timeouts of Caddy
// and of clients.
const maxAnswerAfter = 25 * time.Second

// Sync is the handler of Force Sync. GET reports the configuration and the current run.
// POST triggers strategy_workflow at OPAL, or joins the run that is under way.
//
// OPAL is configured in the osa app. What is missing there does not keep the gateway
// from starting: GET and POST report it.
type Sync struct {
	// AnswerAfter is how long POST waits for OPAL before it answers with the status
	// in_progress; default 1.5s.
	AnswerAfter caddy.Duration `json:"answer_after,omitempty"`

	ctx      caddy.Context
	settings Settings
	app      app
	runner   *Runner
	key      runnerKey
	resumed  chan struct{} // closed when the goroutine that resumes has ended
	cancel   context.CancelFunc
}

// app is the part of the osa app that the handler uses.
type app interface {
	Log(context.Context) (log *eventlog.Log, done func(), err error)
}

// runners are the runners of this process, with the number of configurations that use
// each. A reload provisions the new configuration before it cleans up the old one, so a
// runner and its calls survive it.
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
	if s.AnswerAfter == 0 {
		s.AnswerAfter = caddy.Duration(DefaultAnswerAfter)
	}
	s.settings = settingsOf(app)
	s.app = app
	for _, problem := range s.settings.Report().Problems {
		ctx.Logger().Warn("force sync is not ready", zap.String("problem", problem))
	}
	if checkWorkspace(s.settings.Workspace) != nil {
		return nil //nolint:nilerr // GET and POST say so
	}
	store, err := app.StoreKey()
	if err != nil {
		return err
	}
	return s.join(store)
}

// join gets the runner of the workspace. Once the log is open, the runner resumes the run
// of an earlier process.
func (s *Sync) join(store string) error {
	s.key = runnerKey{store, s.settings.Workspace}
	value, _, err := runners.LoadOrNew(s.key, func() (caddy.Destructor, error) {
		// The runner outlives the configuration, so it has a logger of its own.
		return NewRunner(s.key.workspace, client.New(nil), caddy.Log().Named("osa.sync")), nil
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

// resume waits for the log. Cleanup ends it: `caddy validate` never opens the log.
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

// Validate checks AnswerAfter.
func (s *Sync) Validate() error {
	if d := time.Duration(s.AnswerAfter); d < 0 || d > maxAnswerAfter {
		return osa.ConfigErrors(s.ctx, fmt.Errorf("osa_sync: answer_after is %v; it must be positive and at most %v", d, maxAnswerAfter))
	}
	return nil
}

// Cleanup releases the runner. It stops with the last configuration that uses it. Requests
// of this configuration that are still under way then get 503.
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
