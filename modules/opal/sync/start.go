package sync

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/storage"
)

// StartOptions is a request to start a run.
type StartOptions struct {
	Request       *Request
	Settings      Settings
	CorrelationID string
	StartedBy     string
	// ReceivedAt is when the request was received. A run that began after it is not
	// restarted again.
	ReceivedAt time.Time
	RunTimeout time.Duration
}

// StartResult is the outcome of Start.
type StartResult struct {
	Run Run
	// Joined: a run was under way, and the request joined it.
	Joined bool
	// NothingToRetry: all agents of the last run completed. Run is that run.
	NothingToRetry bool
	call           *call
}

// Called is closed when the call to OPAL has ended. It is nil if there was no call.
func (d *StartResult) Called() <-chan struct{} {
	if d.call == nil {
		return nil
	}
	return d.call.done
}

// Outcome returns the run after the call, why OPAL did not accept the trigger, and whether
// another run has replaced it. Call it when Called is closed.
func (d *StartResult) Outcome() (run Run, err error, replaced bool) {
	return d.call.run, d.call.err, d.call.replaced
}

// Start starts a run, or joins the one under way. The start is logged before OPAL is
// called. The call is made in the background.
func (r *Runner) Start(ctx context.Context, log *eventlog.Log, o StartOptions) (StartResult, error) {
	select {
	case r.starting <- struct{}{}:
		defer func() { <-r.starting }()
	case <-ctx.Done():
		return StartResult{}, ctx.Err()
	case <-r.ctx.Done():
		return StartResult{}, errStopped
	}
	// The end of the request does not cancel what follows.
	ctx, cancel := context.WithTimeout(r.ctx, startTimeout)
	defer cancel()
	for range maxConflicts {
		d, err := r.tryStart(ctx, log, o)
		if err != nil && r.ctx.Err() != nil {
			return d, fmt.Errorf("%w: %w", errStopped, err)
		}
		if !errors.Is(err, storage.ErrConflict) {
			return d, err
		}
	}
	return StartResult{}, fmt.Errorf("starting on a run: %w", storage.ErrConflict)
}

func (r *Runner) tryStart(ctx context.Context, log *eventlog.Log, o StartOptions) (StartResult, error) {
	last, err := r.Current(ctx, log)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return StartResult{}, err
	}
	run := last.Value
	active := last.Version != 0 && run.Active()
	if active && (!o.Request.ForceRestart || run.StartedAt.After(o.ReceivedAt)) {
		r.follow(log, run) // after a restart this node may not follow it yet
		return StartResult{Run: run, Joined: true}, nil
	}
	if o.Request.RetryFailedOnly && last.Version != 0 {
		agents := intersect(run.unfinished(), o.Request.AgentFilter)
		if len(agents) == 0 && !active {
			return StartResult{Run: run, NothingToRetry: true}, nil
		}
		if len(agents) > 0 {
			o.Request = o.Request.limitedTo(agents)
		}
	}
	next := newRun(r.workspace, log.Head(), o)
	message := newTrigger(&next, o.Request, o.Settings.CallbackURL())
	body, err := json.Marshal(message)
	if err != nil {
		return StartResult{}, fmt.Errorf("encoding the trigger: %w", err)
	}
	runs, err := collection(log)
	if err != nil {
		return StartResult{}, err
	}
	version, err := runs.Put(ctx, r.workspace, next, last.Version)
	if err != nil {
		return StartResult{}, err
	}
	if active {
		run.end(PhaseFailed, next.StartedAt, "replaced by a forced restart")
		r.cancelCall(run.SyncID)
		if err := logEnd(ctx, log, &run); err != nil {
			r.log.Error("logging the end of a replaced run", zap.String("sync_id", run.SyncID), zap.Error(err))
		}
	}
	started, err := startedEvent(&next, message)
	if err == nil {
		_, err = log.Append(ctx, started)
	}
	if err != nil {
		// OPAL was not called, so there must be no run for others to join.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
		defer cancel()
		if err := runs.Delete(undo, r.workspace, version); err != nil {
			r.log.Error("removing a run that did not start", zap.String("sync_id", next.SyncID), zap.Error(err))
		}
		return StartResult{}, err
	}
	r.follow(log, next) // before the call, so that it sees OPAL's id
	c := r.callOPAL(log, next, o.Settings, body)
	if c == nil {
		_, _ = r.change(log, next.SyncID, func(run *Run) { run.end(PhaseFailed, time.Now(), errStopped.Error()) })
		return StartResult{}, errStopped
	}
	r.log.Info("force sync started", zap.String("sync_id", next.SyncID), zap.String("correlation_id", next.CorrelationID))
	return StartResult{Run: next, call: c}, nil
}

func newRun(workspace string, head uint64, o StartOptions) Run {
	now := time.Now().UTC()
	timeout := o.RunTimeout
	if o.Request.Timeout > 0 {
		timeout = o.Request.Timeout
	}
	scheduled := o.Request.AgentFilter
	if len(scheduled) == 0 {
		scheduled = Agents
	}
	correlation := o.CorrelationID
	if correlation == "" {
		correlation = fmt.Sprintf("force-sync-%d-%s", now.Unix(), randomID(6))
	}
	return Run{
		SyncID: WorkflowName + "_" + randomID(8), CorrelationID: correlation, WorkspaceID: workspace,
		Phase: PhaseInProgress, StartedAt: now, Deadline: now.Add(timeout), Head: head,
		Delivery: client.Pending, Scheduled: scheduled, StartedBy: o.StartedBy,
	}
}

// randomID is 2n hexadecimal digits.
func randomID(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
