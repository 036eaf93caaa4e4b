package eventlog

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// The projector applies up to projectMax events in one step. The cost of a step
// depends on how many different records it touches, so many events in one step
// are far cheaper than one at a time. Unless a reader waits, the projector lets
// events accumulate for projectDelay.
const (
	projectMax   = 1024
	projectDelay = 100 * time.Millisecond
)

// projectRetry is the delay after the store refused a step because it is being
// reopened or its disk is full.
const projectRetry = 200 * time.Millisecond

// projectLoop keeps all projections up to date, one after the other. A rebuild
// delays the others by one step at most.
func (l *Log) projectLoop() {
	defer l.finished.Done()
	for l.awaitWork() {
		err := l.projectAll()
		switch {
		case err == nil:
			l.noSpace.Store(false)
			continue
		case l.stopped.Err() != nil:
			return
		case l.noteNoSpace(err), errors.Is(err, ErrUnavailable), errors.Is(err, storage.ErrClosed):
		default:
			l.log.Error("projecting", zap.Error(err))
		}
		if !l.sleep(projectRetry) {
			return
		}
	}
}

func (l *Log) projectAll() error {
	store := l.store.Load()
	if store == nil {
		return ErrUnavailable
	}
	for _, f := range l.appliers {
		if _, err := f.applyStep(store); err != nil {
			return err
		}
		if err := f.vacuum.step(f, store); err != nil {
			return err
		}
	}
	return nil
}

// noteNoSpace reports whether err means that the projector has no disk space.
// Readers do not wait for the projector then. The first time it writes to the
// log.
func (l *Log) noteNoSpace(err error) bool {
	if !errors.Is(err, storage.ErrNoSpace) {
		return false
	}
	if !l.noSpace.Swap(true) {
		l.log.Warn("projections stand still until there is disk space", zap.Error(err))
	}
	for _, f := range l.appliers {
		f.cursor.notify()
	}
	return true
}

// outOfSpace reports whether the projector has no disk space. As soon as there
// is space again readers wait for the projector, even before its next try.
func (l *Log) outOfSpace() bool {
	if !l.noSpace.Load() {
		return false
	}
	store, err := l.Store()
	return err != nil || store.Writable() != nil
}

// awaitWork returns when there are events to project and they have accumulated
// for projectDelay, or a reader waits. It returns false if the log is closing.
func (l *Log) awaitWork() bool {
	changed, err := l.feed.head.changed()
	if err != nil {
		return false
	}
	var delay <-chan time.Time
	lag, sweeping := l.backlog()
	switch {
	case lag >= projectMax:
		select {
		case <-l.stop:
			return false
		default:
			return true
		}
	case lag > 0:
		t := time.NewTimer(projectDelay)
		defer t.Stop()
		delay, changed = t.C, nil
	case sweeping:
		t := time.NewTimer(vacuumPause)
		defer t.Stop()
		delay = t.C
	}
	select {
	case <-changed:
		return l.awaitWork() // Let events accumulate.
	case <-delay:
		return true
	case <-l.projectNow:
		return true
	case <-l.stop:
		return false
	}
}

// backlog returns the lag of the projection that is furthest behind, and
// whether there are records to delete.
func (l *Log) backlog() (lag uint64, sweeping bool) {
	for _, f := range l.appliers {
		behind := f.lag()
		if f.needsAttach() || (f.more && behind > 0) {
			return projectMax, false
		}
		lag = max(lag, behind)
		sweeping = sweeping || f.vacuum.due(l.floor.Load())
	}
	return lag, sweeping
}
