package eventlog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// followRetry is the delay after the store refused Follow. commitGrace is how
// long the follower leaves it to a running commit to deliver its own events.
const (
	followRetry = 200 * time.Millisecond
	commitGrace = 10 * time.Millisecond
)

// feed is the only path by which events reach readers, whether this log or
// another process committed them. It moves the tail and the head together, in
// the order of the log, and leaves no event out: events that were not handed to
// it are read from the store.
type feed struct {
	store *atomic.Pointer[storeHandle]
	log   *zap.Logger
	scan  func(ctx context.Context, store storage.Store, after, through uint64, fn func(*event.Event) bool) error

	mu   sync.Mutex // Held while tail and head are moved.
	tail tail
	head watermark // The last committed sequence number that readers may see.

	received   received
	committing atomic.Bool // A commit of this process is running.
}

// open starts at the end of a store that was opened. Earlier events are read
// from the store.
func (f *feed) open(store *storeHandle, b storage.Bounds) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tail.reset(b.Last)
	f.tail.prune(b.First)
	f.store.Store(store)
	f.head.advance(b.Last)
}

// committed takes the events that this process committed. before is the last
// sequence number before them, whoever committed it.
func (f *feed) committed(store *storeHandle, before uint64, written []*event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committing.Store(false)
	f.readMissing(context.Background(), store, before)
	for len(written) > 0 && written[0].Seq <= f.tail.end() {
		written = written[1:] // The follower has delivered it already.
	}
	if n := len(written); n > 0 {
		f.tail.append(written)
		f.received.record(written)
		f.head.advance(written[n-1].Seq)
	}
}

// follow takes what other processes committed up to head.
func (f *feed) follow(ctx context.Context, store *storeHandle, head uint64) {
	if f.committing.Load() {
		// This is probably the commit of this process, which delivers its events
		// without a read.
		waiting, cancel := context.WithTimeout(ctx, commitGrace)
		_, _ = f.head.wait(waiting, head-1)
		cancel()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.store.Load() == store { // The store may have been reopened meanwhile.
		f.readMissing(ctx, store, head)
	}
}

// readMissing reads the events up to through from the store. The caller holds
// mu. Readers read for themselves what it cannot read or what is too much for
// the tail.
func (f *feed) readMissing(ctx context.Context, store *storeHandle, through uint64) {
	after := f.tail.end()
	if through <= after {
		return
	}
	if through-after > tailEvents {
		f.tail.reset(through)
		f.received.recordGap()
	} else {
		var events []*event.Event
		err := f.scan(ctx, store, after, through, func(e *event.Event) bool {
			events = append(events, e)
			return true
		})
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, storage.ErrClosed) {
				f.log.Warn("fetching what others have committed", zap.Error(err))
			}
			f.tail.reset(through)
			f.received.recordGap()
		} else {
			f.tail.append(events)
			f.received.record(events)
			f.tail.extend(through)
		}
	}
	f.head.advance(through)
}

// followLoop follows the store for commits of other processes.
func (l *Log) followLoop() {
	defer l.finished.Done()
	for {
		if store := l.store.Load(); store != nil {
			head, err := store.Follow(l.stopped, l.feed.tail.end())
			if err == nil {
				l.feed.follow(l.stopped, store, head)
				continue
			}
			if !errors.Is(err, storage.ErrClosed) && l.stopped.Err() == nil {
				l.log.Error("following the store", zap.Error(err))
			}
		}
		if !l.sleep(followRetry) {
			return
		}
	}
}

// sleep waits for d. It returns false if the log is closing.
func (l *Log) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.stop:
		return false
	}
}
