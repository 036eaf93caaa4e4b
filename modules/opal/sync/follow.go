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

// Current is the workspace's current or last run as the log has it now;
// storage.ErrNotFound if there never was one.
func (r *Runner) Current(ctx context.Context, log *eventlog.Log) (storage.Entry[Run], error) {
	for {
		entry, err := r.look(ctx, log, false)
		if !errors.Is(err, storage.ErrConflict) || ctx.Err() != nil {
			return entry, err
		}
	}
}

// View is Current for who only looks: nothing is written.
func (r *Runner) View(ctx context.Context, log *eventlog.Log) (storage.Entry[Run], error) {
	return r.look(ctx, log, true)
}

func (r *Runner) look(ctx context.Context, log *eventlog.Log, readOnly bool) (storage.Entry[Run], error) {
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
		if err := closeInLog(ctx, log, &now); err != nil {
			return entry, err
		}
	}
	entry.Value = now
	entry.Version, err = runs.Put(ctx, r.workspace, now, entry.Version)
	return entry, err
}

// workflow is the state of a workflow, nil if the log knows none of that id.
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

// closeInLog writes the end of a run to the log.
func closeInLog(ctx context.Context, log *eventlog.Log, run *Run) error {
	e, err := endedEvent(run)
	if err != nil {
		return err
	}
	_, err = log.Append(ctx, e)
	return err
}

// Resume follows the run that an earlier process left behind, if there is one.
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

// follow follows the log for the run, in the background, unless somebody does.
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
		r.untilEnd(log, run)
	})
}

// untilEnd returns when the run has ended or another took its place.
func (r *Runner) untilEnd(log *eventlog.Log, run Run) {
	after := run.Head
	concerned := false // something came that was not looked at yet
	for {
		if concerned {
			entry, err := r.Current(r.ctx, log)
			switch {
			case err == nil && entry.Value.SyncID == run.SyncID && entry.Value.Active():
				run, concerned = entry.Value, false
			case err == nil, errors.Is(err, storage.ErrNotFound), errors.Is(err, eventlog.ErrClosed):
				return
			default:
				// Where the run stands cannot be told now, as while states are made
				// anew from the log.
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
			concerned = r.learn(log, &run, e) || concerned
		}
		if len(events) == 0 {
			after = log.Head() // what was there has been pruned
		}
	}
}

// learn reports whether an event concerns the run. An id that comes with the
// run's correlation id is OPAL's name for it, whether or not OPAL's answer could
// be read.
func (r *Runner) learn(log *eventlog.Log, run *Run, e *event.Event) bool {
	if e.WorkspaceID != run.WorkspaceID || e.ReplayOf != 0 {
		return false
	}
	if e.WorkflowID == run.SyncID || e.WorkflowID == cmp.Or(r.aliasOf(run.SyncID), run.Alias) {
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

// expire ends a run whose time is up. The store may be away just then.
func (r *Runner) expire(log *eventlog.Log, run Run) {
	for {
		entry, err := r.Current(r.ctx, log)
		// The wall clock may be behind the one that timers go by.
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

// setAlias tells whoever follows the run under which id OPAL speaks of it.
func (r *Runner) setAlias(syncID, alias string) {
	if alias == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aliases[syncID] = alias
}

func (r *Runner) aliasOf(syncID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aliases[syncID]
}
