package eventlog

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// The projector takes what has come since, up to projectMax events at once. A
// step costs by the number of different records it touches, so that many events
// at once are far cheaper than each on its own: unless somebody waits, it lets
// them gather for projectDelay.
const (
	projectMax   = 1024
	projectDelay = 100 * time.Millisecond
)

// projectRetry paces a projector whose store refuses (it is being reopened, or
// its disk is full).
const projectRetry = 200 * time.Millisecond

// projectLoop keeps every projection up to date, one after the other: what is
// being rebuilt holds the others up for one step of its own.
func (l *Log) projectLoop() {
	defer l.finished.Done()
	for l.awaitWork() {
		err := l.projectAll()
		switch {
		case err == nil:
			l.stalled.Store(false)
			continue
		case l.stopped.Err() != nil:
			return
		case l.stall(err), errors.Is(err, ErrUnavailable), errors.Is(err, storage.ErrClosed):
		default:
			l.log.Error("projecting", zap.Error(err))
		}
		if !l.pause(projectRetry) {
			return
		}
	}
}

func (l *Log) projectAll() error {
	store := l.store.Load()
	if store == nil {
		return ErrUnavailable
	}
	for _, f := range l.followers {
		if _, err := f.step(store); err != nil {
			return err
		}
		if err := f.sweep.step(f, store); err != nil {
			return err
		}
	}
	return nil
}

// stall tells readers not to wait for a projector that has no space to write
// with, and tells whether that is what err says. It says so in the log once.
func (l *Log) stall(err error) bool {
	if !errors.Is(err, storage.ErrNoSpace) {
		return false
	}
	if !l.stalled.Swap(true) {
		l.log.Warn("projections stand still until there is disk space", zap.Error(err))
	}
	for _, f := range l.followers {
		f.cursor.nudge()
	}
	return true
}

// outOfSpace tells whether the projector has no space to write with now. Once
// there is space again readers wait for it, though it has not tried again yet.
func (l *Log) outOfSpace() bool {
	if !l.stalled.Load() {
		return false
	}
	store, err := l.Store()
	return err != nil || store.Writable() != nil
}

// awaitWork returns once there is something to project and it has gathered, or
// somebody waits for it; false if the log is closing.
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
		t := time.NewTimer(sweepPause)
		defer t.Stop()
		delay = t.C
	}
	select {
	case <-changed:
		return l.awaitWork() // let them gather
	case <-delay:
		return true
	case <-l.kick:
		return true
	case <-l.stop:
		return false
	}
}

// backlog is how far the projection is behind that is furthest, and whether there
// are records to delete.
func (l *Log) backlog() (lag uint64, sweeping bool) {
	for _, f := range l.followers {
		behind := f.lag()
		if f.restart() || (f.more && behind > 0) {
			return projectMax, false
		}
		lag = max(lag, behind)
		sweeping = sweeping || f.sweep.due(l.floor.Load())
	}
	return lag, sweeping
}
