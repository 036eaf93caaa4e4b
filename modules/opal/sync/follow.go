package sync

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
)

// followPage is how many events are read at once while following a run.
const followPage = 512

// Current returns the current or last run of the workspace, updated from the log. The error
// is storage.ErrNotFound if there was none.
func (r *Runner) Current(ctx context.Context, log *eventlog.Log) (storage.Entry[Run], error) {
	for {
		entry, err := r.load(ctx, log, false)
		if !errors.Is(err, storage.ErrConflict) || ctx.Err() != nil {
			return entry, err
		}
	}
}

// View is Current without writing anything.
func (r *Runner) View(ctx context.Context, log *eventlog.Log) (storage.Entry[Run], error) {
	return r.load(ctx, log, true)
}

func (r *Runner) load(ctx context.Context, log *eventlog.Log, readOnly bool) (storage.Entry[Run], error) {
	runs, err := collection(log)
	if err != nil {
		return storage.Entry[Run]{}, err
	}
	entry, err := runs.Get(ctx, r.workspace)
	if err != nil || !entry.Value.Active() {
		return entry, err
	}
	run := entry.Value
	own, err := workflow(ctx, log, run.WorkspaceID, run.SyncID)
	if err != nil {
		return entry, err
	}
	alias, err := workflow(ctx, log, run.WorkspaceID, run.Alias)
	if err != nil {
		return entry, err
	}
	now := run.observe(own, alias, time.Now())
	if readOnly || reflect.DeepEqual(now, run) {
		entry.Value = now
		return entry, nil
	}
	if !now.Active() && (own == nil || !own.Status.Terminal()) {
		if err := logEnd(ctx, log, &now); err != nil {
			return entry, err
		}
	}
	entry.Value = now
	entry.Version, err = runs.Put(ctx, r.workspace, now, entry.Version)
	return entry, err
}

// workflow returns the state of a workflow, or nil if there is none with the id.
func workflow(ctx context.Context, log *eventlog.Log, workspace, id string) (*eventlog.WorkflowState, error) {
	if id == "" {
		return nil, nil
	}
	state, err := log.Workflow(ctx, workspace, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return state, err
}

// logEnd logs the end of a run.
func logEnd(ctx context.Context, log *eventlog.Log, run *Run) error {
	e, err := endedEvent(run)
	if err != nil {
		return err
	}
	_, err = log.Append(ctx, e)
	return err
}

// Resume follows the run that an earlier process has started, if there is one.
func (r *Runner) Resume(ctx context.Context, log *eventlog.Log) error {
	entry, err := r.Current(ctx, log)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && entry.Value.Active() {
		r.follow(log, entry.Value)
	}
	return err
}

// follow follows the run in the background, unless it is followed already.
func (r *Runner) follow(log *eventlog.Log, run Run) {
	r.mu.Lock()
	if r.followed == run.SyncID {
		r.mu.Unlock()
		return
	}
	r.followed = run.SyncID
	clear(r.aliases) // of runs before this one
	r.mu.Unlock()
	r.spawn(func() {
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.followed == run.SyncID {
				r.followed = ""
			}
		}()
		r.watch(log, run)
	})
}

// watch reads the log until the run has ended or another one has replaced it.
func (r *Runner) watch(log *eventlog.Log, run Run) {
	after := run.Head
	concerned := false // there are events of the run that were not applied
	for {
		if concerned {
			entry, err := r.Current(r.ctx, log)
			switch {
			case err == nil && entry.Value.SyncID == run.SyncID && entry.Value.Active():
				run, concerned = entry.Value, false
			case err == nil, errors.Is(err, storage.ErrNotFound), errors.Is(err, eventlog.ErrClosed):
				return
			default:
				// The state of the run is not available, as while states are rebuilt.
				r.log.Warn("looking at a force sync", zap.String("sync_id", run.SyncID), zap.Error(err))
				if !pause(r.ctx, writeRetry) {
					return
				}
				continue
			}
		}
		waiting, cancel := context.WithDeadline(r.ctx, run.Deadline)
		_, err := log.Wait(waiting, after)
		cancel()
		switch {
		case r.ctx.Err() != nil, errors.Is(err, eventlog.ErrClosed):
			return
		case errors.Is(err, context.DeadlineExceeded):
			r.expire(log, run)
			return
		}
		events, err := log.Read(r.ctx, after, followPage)
		if err != nil {
			if errors.Is(err, eventlog.ErrClosed) || !pause(r.ctx, writeRetry) {
				return
			}
			continue
		}
		for _, e := range events {
			after = e.Seq
			concerned = r.concerns(log, &run, e) || concerned
		}
		if len(events) == 0 {
			after = log.Head() // the events were pruned
		}
	}
}

// concerns reports whether an event belongs to the run. A workflow id with the run's
// correlation id is OPAL's id of the run, also if OPAL's response could not be read.
func (r *Runner) concerns(log *eventlog.Log, run *Run, e *event.Event) bool {
	if e.WorkspaceID != run.WorkspaceID || e.ReplayOf != 0 {
		return false
	}
	if e.WorkflowID == run.SyncID || e.WorkflowID == cmp.Or(r.aliasFor(run.SyncID), run.Alias) {
		return true
	}
	if e.CorrelationID != run.CorrelationID || e.Source == event.SourceGateway {
		return false
	}
	if run.Alias == "" {
		id := e.WorkflowID
		changed, err := r.change(log, run.SyncID, func(run *Run) {
			if run.Alias == "" {
				run.Alias = id
			}
		})
		if err != nil {
			r.log.Warn("writing down OPAL's id of a force sync", zap.String("sync_id", run.SyncID), zap.Error(err))
		} else if changed != nil {
			*run = *changed
		}
	}
	return true
}

// expire ends a run whose deadline has passed. It retries while the store is not available.
func (r *Runner) expire(log *eventlog.Log, run Run) {
	for {
		entry, err := r.Current(r.ctx, log)
		// The wall clock may be behind the monotonic clock of timers.
		early := err == nil && entry.Value.SyncID == run.SyncID && entry.Value.Active()
		if (err == nil && !early) || errors.Is(err, storage.ErrNotFound) || errors.Is(err, eventlog.ErrClosed) {
			r.log.Warn("force sync timed out", zap.String("sync_id", run.SyncID))
			return
		}
		if !pause(r.ctx, writeRetry) {
			return
		}
	}
}

// setAlias tells the follower of a run OPAL's id of it.
func (r *Runner) setAlias(syncID, alias string) {
	if alias == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aliases[syncID] = alias
}

func (r *Runner) aliasFor(syncID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aliases[syncID]
}
