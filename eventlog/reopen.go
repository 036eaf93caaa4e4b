package eventlog

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// reopenBackoff is the delay between two attempts to open a store.
const (
	reopenBackoffMin = 100 * time.Millisecond
	reopenBackoffMax = 5 * time.Second
)

// Store returns the engine, for documents, backups and usage. It returns
// ErrUnavailable while the store is being reopened.
func (l *Log) Store() (storage.Store, error) {
	if store := l.store.Load(); store != nil {
		return store, nil
	}
	return nil, l.unavailableReason()
}

// unavailableReason returns why there is no store.
func (l *Log) unavailableReason() error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	return ErrUnavailable
}

// openStore opens the engine and continues at its end.
func (l *Log) openStore(poisoned bool) error {
	store, err := l.opt.Open(poisoned)
	if err != nil {
		return err
	}
	bounds, err := store.Bounds(l.stopped)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	l.floor.Store(bounds.First)
	l.feed.open(&storeHandle{Store: store, storeClosed: l.storeClosed}, bounds)
	return nil
}

// reopenIfClosed reopens a store that has closed itself.
func (l *Log) reopenIfClosed() {
	store := l.store.Load()
	if store == nil || !store.reportedClosed.Load() {
		return
	}
	l.log.Error("the store has closed itself after a failed write, reopening it")
	l.reopen()
}

// reopen closes a store whose state is unknown and opens it again. Queued
// events are refused; a retry by their sender finds what was written.
func (l *Log) reopen() {
	acknowledged := l.Head()
	store := l.store.Swap(nil)
	if err := store.Close(); err != nil {
		l.log.Warn("closing the store after a failed write", zap.Error(err))
	}
	backoff := reopenBackoffMin
	for {
		l.commits.refuse(ErrUnavailable)
		err := l.openStore(true)
		if err == nil {
			break
		}
		l.log.Error("reopening the store", zap.Error(err), zap.Duration("next_try", backoff))
		retry := time.NewTimer(backoff)
		select {
		case <-retry.C:
		case <-l.stop:
			retry.Stop()
			return
		}
		backoff = min(2*backoff, reopenBackoffMax)
	}
	l.opt.Observer.Reopened()
	signal(l.projectNow)
	if last := l.Head(); last < acknowledged {
		l.log.Error("the reopened store lacks acknowledged events", zap.Uint64("acknowledged", acknowledged), zap.Uint64("last", last))
	} else {
		l.log.Info("store reopened", zap.Uint64("acknowledged", acknowledged), zap.Uint64("last", last))
	}
}

// unavailable converts the engine's ErrClosed, which a reader gets while the
// store is being reopened, into ErrUnavailable.
func unavailable(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return ErrUnavailable
	}
	return err
}
