package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
	"github.com/osa-edge/osa-gateway/storage"
)

// Intervals of maintenance: pruning, saving the confirmed time, and checking
// whether the store has closed itself.
const (
	pruneInterval = time.Minute
	clockInterval = time.Hour
	watchInterval = time.Second
)

// The document that holds the confirmed time.
const (
	logCollection = "log"
	clockKey      = "retention_clock"
)

type clockDocument struct {
	Confirmed time.Time `json:"confirmed"`
}

// maintainLoop prunes expired events and watches the store.
func (l *Log) maintainLoop() {
	defer l.finished.Done()
	watch, prune, clock := time.NewTicker(watchInterval), time.NewTicker(pruneInterval), time.NewTicker(clockInterval)
	defer watch.Stop()
	defer prune.Stop()
	defer clock.Stop()
	l.prune() // Events that expired while the process was down.
	for {
		select {
		case <-watch.C:
			if store := l.store.Load(); store != nil {
				_ = store.Writable() // This makes the handle notice a closed store.
			}
		case <-prune.C:
			l.prune()
		case <-clock.C:
			l.saveClock(l.stopped)
		case <-l.stop:
			return
		}
	}
}

// prune removes events older than the retention period, by the confirmed time.
func (l *Log) prune() {
	now, ok := l.clock.confirmedTime()
	if !ok {
		return
	}
	n, err := l.PruneBefore(l.stopped, now.Add(-l.Settings().Retention))
	if err != nil {
		if l.stopped.Err() == nil && !errors.Is(err, ErrUnavailable) {
			l.log.Error("retention", zap.Error(err))
		}
		return
	}
	if n > 0 {
		l.saveClock(l.stopped)
	}
}

// PruneBefore removes all events up to the last one that was logged before the
// given time, and returns how many they were. They are gone when it returns.
func (l *Log) PruneBefore(ctx context.Context, before time.Time) (int, error) {
	store, err := l.Store()
	if err != nil {
		return 0, err
	}
	n, err := store.Prune(ctx, before)
	if err != nil {
		return n, unavailable(err)
	}
	if n > 0 {
		l.opt.Observer.Pruned(n)
	}
	bounds, err := store.Bounds(ctx) // Other processes may have moved the floor.
	if err != nil {
		return n, unavailable(err)
	}
	l.feed.tail.prune(bounds.First)
	if bounds.First > l.floor.Swap(bounds.First) {
		signal(l.projectNow) // There are records to delete.
	}
	return n, nil
}

// loadClock restores the time that was confirmed before a restart.
func (l *Log) loadClock(ctx context.Context) error {
	store, err := l.Store()
	if err != nil {
		return err
	}
	d, err := store.GetDocument(ctx, logCollection, clockKey)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return unavailable(err)
	}
	var c clockDocument
	if err := strictjson.Unmarshal(d.Value, &c); err != nil {
		l.log.Error("reading the retention clock; it begins anew", zap.Error(err))
		return nil
	}
	l.clock.restore(c.Confirmed)
	return nil
}

// saveClock saves the confirmed time, unless another process saved a later one.
func (l *Log) saveClock(ctx context.Context) {
	if err := l.loadClock(ctx); err != nil {
		return // The store is being reopened.
	}
	now, ok := l.clock.confirmedTime()
	if !ok {
		return
	}
	raw, err := json.Marshal(clockDocument{now})
	if err == nil {
		var store storage.Store
		if store, err = l.Store(); err == nil {
			_, err = store.PutDocument(ctx, storage.Document{
				Collection: logCollection, Key: clockKey, Value: raw, Version: storage.AnyVersion,
			})
		}
	}
	if err != nil && ctx.Err() == nil {
		l.log.Warn("writing down the retention clock", zap.Error(err))
	}
}
