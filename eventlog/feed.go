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

// followRetry paces a follower whose store refuses, and commitGrace is how long it
// leaves to a commit under way what that commit is about to hand over.
const (
	followRetry = 200 * time.Millisecond
	commitGrace = 10 * time.Millisecond
)

// feed is the one place through which events come to readers, from this log's own
// commits and from those of others. It moves the tail and the head together, in
// the order of the log, and leaves nothing out: what it was not handed it fetches
// from the store.
type feed struct {
	store *atomic.Pointer[guarded]
	log   *zap.Logger
	scan  func(ctx context.Context, store storage.Store, after, through uint64, fn func(*event.Event) bool) error

	mu   sync.Mutex // held by whoever moves tail and head
	tail tail
	head watermark // last committed sequence number that readers may see

	received   received
	committing atomic.Bool // a commit of our own is under way
}

// open begins at the end of a store that was opened, which is the log's from now
// on. What is before is read from it.
func (f *feed) open(store *guarded, b storage.Bounds) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tail.reset(b.Last)
	f.tail.prune(b.First)
	f.store.Store(store)
	f.head.advance(b.Last)
}

// committed takes the events that a commit of our own has written; before is what
// was committed before it, by whomever.
func (f *feed) committed(store *guarded, before uint64, written []*event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committing.Store(false)
	f.fill(context.Background(), store, before)
	for len(written) > 0 && written[0].Seq <= f.tail.end() {
		written = written[1:] // the follower was faster
	}
	if n := len(written); n > 0 {
		f.tail.append(written)
		f.received.see(written)
		f.head.advance(written[n-1].Seq)
	}
}

// follow takes what others have committed up to head.
func (f *feed) follow(ctx context.Context, store *guarded, head uint64) {
	if f.committing.Load() {
		// It is ours, most likely, and comes without being read again.
		waiting, cancel := context.WithTimeout(ctx, commitGrace)
		_, _ = f.head.wait(waiting, head-1)
		cancel()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.store.Load() == store { // and was not opened anew meanwhile
		f.fill(ctx, store, head)
	}
}

// fill fetches what there is up to through, with the lock held. What it cannot
// fetch, or is too much for the tail, readers fetch for themselves.
func (f *feed) fill(ctx context.Context, store *guarded, through uint64) {
	after := f.tail.end()
	if through <= after {
		return
	}
	if through-after > tailEvents {
		f.tail.reset(through)
		f.received.skip()
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
			f.received.skip()
		} else {
			f.tail.append(events)
			f.received.see(events)
			f.tail.extend(through)
		}
	}
	f.head.advance(through)
}

// followLoop follows the store for what other processes commit.
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
		if !l.pause(followRetry) {
			return
		}
	}
}

// pause waits; false if the log is closing.
func (l *Log) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.stop:
		return false
	}
}
