package sync

import (
	"context"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
)

// change changes the document of a run. It retries while the store is not available. It
// returns nil if another run has replaced it. The end of a run is logged before the
// document is written: after a crash in between, the next load completes it.
func (r *Runner) change(log *eventlog.Log, syncID string, change func(*Run)) (*Run, error) {
	// OPAL's response is stored also while the runner stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), writeTimeout)
	defer cancel()
	for {
		run, err := tryChange(ctx, log, r.workspace, syncID, change)
		switch {
		case err == nil, errors.Is(err, storage.ErrNotFound):
			return run, nil
		case errors.Is(err, storage.ErrConflict) && ctx.Err() == nil:
			continue // the follower has stored the end first
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
		if err := logEnd(ctx, log, &run); err != nil {
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

// pause waits for d. It returns false if ctx ended first.
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
