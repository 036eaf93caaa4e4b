package sync

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/storage"
)

// Collection holds the runs, by workspace.
const Collection = "sync_runs"

// Deadlines of the runner's own work, none of which hangs on the request: a
// client that leaves must not leave half a run behind.
const (
	decideTimeout = 10 * time.Second
	writeTimeout  = 30 * time.Second
	writeRetry    = 200 * time.Millisecond
)

// maxConflicts bounds how often a decision is taken anew because another node
// wrote the run's document meanwhile.
const maxConflicts = 10

// errStopped: the gateway no longer has a Force Sync for this workspace.
var errStopped = errors.New("force sync is being stopped")

// Runner owns everything that goes on in the background for the runs of one
// workspace: the call to OPAL and whoever follows the log for the run's end. It
// outlives the configurations that use it.
type Runner struct {
	workspace string
	log       *zap.Logger
	client    *client.Client

	ctx    context.Context
	cancel context.CancelFunc
	// deciding lets one request at a time decide whether a run is started; the
	// document's version decides between nodes.
	deciding chan struct{}

	mu       sync.Mutex // guards what follows and wg.Add against Stop
	stopped  bool
	call     *call
	followed string            // sync id of the run that is being followed
	aliases  map[string]string // OPAL's ids, by sync id, of the runs of this process
	wg       sync.WaitGroup
}

// call is a call to OPAL under way.
type call struct {
	syncID string
	cancel context.CancelFunc
	done   chan struct{} // closed when run says how it went
	// What follows is set when done is closed.
	run      Run
	err      error // why it was not accepted
	replaced bool  // another run took its place
}

// NewRunner returns a runner for the workspace.
func NewRunner(workspace string, client *client.Client, log *zap.Logger) *Runner {
	r := &Runner{
		workspace: workspace, client: client, log: log,
		deciding: make(chan struct{}, 1), aliases: make(map[string]string),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Stop ends what goes on in the background. Runs go on: whoever opens the store
// next follows them.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}

// spawn runs f in the background until Stop; false if it is too late for that.
func (r *Runner) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	r.wg.Go(f)
	return true
}

// Order is a request with what it takes to carry it out.
type Order struct {
	Request       *Request
	Settings      Settings
	CorrelationID string
	StartedBy     string
	// ReceivedAt is when the request came in: a restart that it asks for has
	// already happened if the run under way began after it.
	ReceivedAt time.Time
	RunTimeout time.Duration
}

// Decision is what became of an order.
type Decision struct {
	Run Run
	// Joined: a run was under way and goes on.
	Joined bool
	// Nothing: no agent of the last run is left to be retried. Run is that run.
	Nothing bool
	call    *call
}

// Called is closed once the call to OPAL ended; it is nil if none was made.
func (d *Decision) Called() <-chan struct{} {
	if d.call == nil {
		return nil
	}
	return d.call.done
}

// Delivered is the run after the call, why OPAL did not accept it, and whether
// another run took its place meanwhile. It may be asked for once Called is closed.
func (d *Decision) Delivered() (run Run, err error, replaced bool) {
	return d.call.run, d.call.err, d.call.replaced
}

// Start starts a run, or joins the one under way. The start is in the log before
// OPAL is called; the call goes on in the background.
func (r *Runner) Start(ctx context.Context, log *eventlog.Log, o Order) (Decision, error) {
	select {
	case r.deciding <- struct{}{}:
		defer func() { <-r.deciding }()
	case <-ctx.Done():
		return Decision{}, ctx.Err()
	case <-r.ctx.Done():
		return Decision{}, errStopped
	}
	// From here on the request's end changes nothing.
	ctx, cancel := context.WithTimeout(r.ctx, decideTimeout)
	defer cancel()
	for range maxConflicts {
		d, err := r.decide(ctx, log, o)
		if err != nil && r.ctx.Err() != nil {
			return d, fmt.Errorf("%w: %w", errStopped, err)
		}
		if !errors.Is(err, storage.ErrConflict) {
			return d, err
		}
	}
	return Decision{}, fmt.Errorf("deciding on a run: %w", storage.ErrConflict)
}

func (r *Runner) decide(ctx context.Context, log *eventlog.Log, o Order) (Decision, error) {
	last, err := r.Current(ctx, log)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return Decision{}, err
	}
	run := last.Value
	active := last.Version != 0 && run.Active()
	if active && (!o.Request.ForceRestart || run.StartedAt.After(o.ReceivedAt)) {
		r.follow(log, run) // this node may not have, after a restart
		return Decision{Run: run, Joined: true}, nil
	}
	if o.Request.RetryFailedOnly && last.Version != 0 {
		agents := intersect(run.unfinished(), o.Request.AgentFilter)
		if len(agents) == 0 && !active {
			return Decision{Run: run, Nothing: true}, nil
		}
		if len(agents) > 0 {
			o.Request = o.Request.limitedTo(agents)
		}
	}
	next := newRun(r.workspace, log.Head(), o)
	message := newTrigger(&next, o.Request, o.Settings.CallbackURL())
	body, err := json.Marshal(message)
	if err != nil {
		return Decision{}, fmt.Errorf("encoding the trigger: %w", err)
	}
	runs, err := collection(log)
	if err != nil {
		return Decision{}, err
	}
	version, err := runs.Put(ctx, r.workspace, next, last.Version)
	if err != nil {
		return Decision{}, err
	}
	if active {
		run.end(PhaseFailed, next.StartedAt, "replaced by a forced restart")
		r.abandon(run.SyncID)
		if err := closeInLog(ctx, log, &run); err != nil {
			r.log.Error("logging the end of a replaced run", zap.String("sync_id", run.SyncID), zap.Error(err))
		}
	}
	started, err := startedEvent(&next, message)
	if err == nil {
		_, err = log.Append(ctx, started)
	}
	if err != nil {
		// Nothing was sent, so nothing may be left that others would join.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideTimeout)
		defer cancel()
		if err := runs.Delete(undo, r.workspace, version); err != nil {
			r.log.Error("removing a run that did not start", zap.String("sync_id", next.SyncID), zap.Error(err))
		}
		return Decision{}, err
	}
	r.follow(log, next) // first, so that it sees OPAL's id
	c := r.launch(log, next, o.Settings, body)
	if c == nil {
		_, _ = r.change(log, next.SyncID, func(run *Run) { run.end(PhaseFailed, time.Now(), errStopped.Error()) })
		return Decision{}, errStopped
	}
	r.log.Info("force sync started", zap.String("sync_id", next.SyncID), zap.String("correlation_id", next.CorrelationID))
	return Decision{Run: next, call: c}, nil
}

func newRun(workspace string, head uint64, o Order) Run {
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

// launch calls OPAL in the background; nil if it is too late for that.
func (r *Runner) launch(log *eventlog.Log, run Run, s Settings, body []byte) *call {
	ctx, cancel := context.WithDeadline(r.ctx, run.Deadline)
	c := &call{syncID: run.SyncID, cancel: cancel, done: make(chan struct{}), run: run}
	r.mu.Lock()
	r.call = c
	r.mu.Unlock()
	ok := r.spawn(func() {
		defer close(c.done)
		defer cancel()
		d := r.client.Trigger(ctx, client.Trigger{URL: s.WebhookURL, AuthKey: s.AuthKey, CorrelationID: run.CorrelationID, Body: body})
		c.err = d.Err
		c.run, c.replaced = r.delivered(log, run, d)
	})
	if !ok {
		cancel()
		return nil
	}
	return c
}

// abandon ends the call of a run that was replaced.
func (r *Runner) abandon(syncID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call != nil && r.call.syncID == syncID {
		r.call.cancel()
	}
}

// delivered writes down how the call went.
func (r *Runner) delivered(log *eventlog.Log, run Run, d client.Result) (after Run, replaced bool) {
	fields := []zap.Field{
		zap.String("sync_id", run.SyncID), zap.String("delivery", string(d.Delivery)),
		zap.Int("status", d.Status), zap.Int("attempts", d.Attempts), zap.Error(d.Err),
	}
	if d.Err != nil {
		r.log.Warn("force sync was not accepted", fields...)
	} else {
		r.log.Info("force sync accepted", fields...)
	}
	if d.WorkflowID == run.SyncID {
		d.WorkflowID = ""
	}
	r.setAlias(run.SyncID, d.WorkflowID)
	change := func(run *Run) {
		run.Delivery, run.OPALStatus, run.Attempts = d.Delivery, d.Status, d.Attempts
		if len(d.Agents) > 0 {
			run.Scheduled = d.Agents
		}
		run.Alias = cmp.Or(d.WorkflowID, run.Alias)
		if !run.Active() {
			return // its callbacks came before the answer did
		}
		switch d.Delivery {
		case client.Accepted:
			run.Phase = PhaseInitiated
		case client.Refused, client.Unreachable:
			run.end(PhaseFailed, time.Now(), d.Err.Error())
		}
	}
	changed, err := r.change(log, run.SyncID, change)
	if err != nil {
		r.log.Error("writing down a force sync", append(fields, zap.NamedError("write_error", err))...)
	}
	if changed == nil {
		change(&run)
		return run, err == nil
	}
	if changed.Active() && changed.Alias != "" {
		// Callbacks that came before the id was known concern the run too.
		if entry, err := r.Current(r.ctx, log); err == nil && entry.Value.SyncID == run.SyncID {
			return entry.Value, false
		}
	}
	return *changed, false
}

// change changes the document of a run, however long the store takes to come
// back; nil if another run has taken its place. An end is logged before it is
// written, so that a crash between the two is made good by the next look.
func (r *Runner) change(log *eventlog.Log, syncID string, change func(*Run)) (*Run, error) {
	// The way down is no reason to forget what OPAL said.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), writeTimeout)
	defer cancel()
	for {
		run, err := tryChange(ctx, log, r.workspace, syncID, change)
		switch {
		case err == nil, errors.Is(err, storage.ErrNotFound):
			return run, nil
		case errors.Is(err, storage.ErrConflict) && ctx.Err() == nil:
			continue // whoever follows the run saw its end first
		}
		if errors.Is(err, eventlog.ErrClosed) || !pause(ctx, writeRetry) {
			return nil, err
		}
	}
}

func tryChange(ctx context.Context, log *eventlog.Log, workspace, syncID string, change func(*Run)) (*Run, error) {
	runs, err := collection(log)
	if err != nil {
		return nil, err
	}
	entry, err := runs.Get(ctx, workspace)
	if err != nil || entry.Value.SyncID != syncID {
		return nil, err
	}
	run := entry.Value
	active := run.Active()
	change(&run)
	if active && !run.Active() {
		if err := closeInLog(ctx, log, &run); err != nil {
			return nil, err
		}
	}
	if _, err := runs.Put(ctx, workspace, run, entry.Version); err != nil {
		return nil, err
	}
	return &run, nil
}

func collection(log *eventlog.Log) (storage.Collection[Run], error) {
	store, err := log.Store()
	if err != nil {
		return storage.Collection[Run]{}, err
	}
	return storage.NewCollection[Run](store, Collection), nil
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
