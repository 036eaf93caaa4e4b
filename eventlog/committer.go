package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// What one commit gathers at most: more than the door lets in, and no more than
// an engine's transaction takes.
const (
	batchEvents = 1024
	batchBytes  = 768 << 10
)

// appendTimeout bounds the wait for a commit: a disk that hangs must not collect
// callers without end.
const appendTimeout = 30 * time.Second

// pruneInterval and pruneStep pace retention: a step is short enough to stand
// between two batches, and where there is more to do, the next one comes after as
// long as this one took, so that half of the time is left to commits.
const (
	pruneInterval = time.Minute
	pruneStep     = 512
)

// reopenBackoff bounds how often a store that does not open is tried.
const (
	reopenBackoffMin = 100 * time.Millisecond
	reopenBackoffMax = 5 * time.Second
)

// Result of an append.
type Result struct {
	// Seq is the event's place in the log, or the original's if it is a
	// duplicate.
	Seq       uint64
	Duplicate bool
}

// pending is an event that waits for its commit. They are reused, with what they
// wait with, unless their caller left before the answer.
type pending struct {
	event *event.Event
	since time.Time
	done  chan outcome // buffered, so that nobody waits for a caller who left
	timer *time.Timer
}

func newPending() any {
	p := &pending{done: make(chan outcome, 1), timer: time.NewTimer(appendTimeout)}
	p.timer.Stop()
	return p
}

type outcome struct {
	Result
	err error
}

// Append makes the event durable and returns its place in the log. When it
// returns without an error the event has been synced to disk. The event must not
// be changed afterwards, and its strings must not share memory with its body,
// which the log lets go of.
//
// If ctx ends first, or nothing is heard of the commit for half a minute, the
// event may still be committed.
func (l *Log) Append(ctx context.Context, e *event.Event) (Result, error) {
	p := l.pendings.Get().(*pending)
	p.event, p.since = e, time.Now()
	if err := l.enqueue(p); err != nil {
		l.reuse(p)
		l.opt.Observer.Refused(err)
		return Result{}, err
	}
	// A timer of our own: a context with a deadline is made, registered with its
	// parent and taken out again for ten times the price.
	p.timer.Reset(appendTimeout)
	select {
	case o := <-p.done:
		p.timer.Stop()
		l.reuse(p)
		if o.err != nil {
			l.opt.Observer.Refused(o.err)
		}
		return o.Result, o.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-p.timer.C:
		err := fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.DeadlineExceeded)
		l.opt.Observer.Refused(err)
		return Result{}, err
	}
}

// reuse gives back a pending that nobody else holds any more.
func (l *Log) reuse(p *pending) {
	p.event = nil
	l.pendings.Put(p)
}

// admit is nil, or why an event would be refused now.
func (l *Log) admit() error {
	ref := l.store.Load()
	if ref == nil {
		return ErrUnavailable
	}
	if err := ref.Writable(); err != nil {
		return unavailable(err)
	}
	if len(l.queue) == cap(l.queue) || l.queued.Load() >= l.opt.QueueBytes {
		return ErrOverloaded
	}
	return nil
}

func (l *Log) enqueue(p *pending) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	if err := l.admit(); err != nil {
		return err
	}
	size := int64(len(p.event.Body))
	if l.queued.Add(size) > l.opt.QueueBytes && size < l.queued.Load() {
		l.queued.Add(-size)
		return ErrOverloaded
	}
	select {
	case l.queue <- p:
		if n := l.awaited.Load(); n > 0 && int64(len(l.queue)) >= n {
			select {
			case l.arrived <- struct{}{}:
			default:
			}
		}
		return nil
	default:
		l.queued.Add(-size)
		return ErrOverloaded
	}
}

// commitLoop owns all writing of events.
func (l *Log) commitLoop() {
	defer l.finished.Done()
	prune := time.NewTicker(pruneInterval)
	defer prune.Stop()
	pruneAgain := time.NewTimer(0) // what expired while the gateway was down
	defer pruneAgain.Stop()
	b := newBatch()
	for {
		select {
		case p := <-l.queue:
			l.commit(b, p)
		case <-l.doubt:
			l.reopenIfClosed()
		case <-prune.C:
			l.prune(pruneAgain)
		case <-pruneAgain.C:
			l.prune(pruneAgain)
		case <-l.stop:
			// Nothing enters the queue any more: Close took the lock.
			for {
				select {
				case p := <-l.queue:
					l.commit(b, p)
				default:
					return
				}
			}
		}
	}
}

// commit gathers a batch that begins with first and makes it durable.
func (l *Log) commit(b *batch, first *pending) {
	b.reset()
	l.gather(b, first)
	for p := first; p != nil; {
		l.queued.Add(-int64(len(p.event.Body)))
		b.add(p)
		p = nil
		if len(b.all) < batchEvents && b.bytes < batchBytes {
			select {
			case p = <-l.queue:
			default:
			}
		}
	}

	start := time.Now()
	for _, e := range b.events {
		e.ProcessingTime = start.Sub(e.ReceivedAt)
	}
	ref := l.store.Load()
	if ref == nil {
		b.fail(ErrUnavailable)
		return
	}
	// The log's own end is no reason to drop what was taken: no ctx of it here.
	outcomes, err := ref.CommitBatch(context.Background(), b.events)
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrNoSpace):
		b.fail(err)
		return
	default:
		l.log.Error("commit failed; its outcome is unknown, reopening the store", zap.Int("events", len(b.events)), zap.Error(err))
		b.fail(ErrOutcomeUnknown)
		l.reopen()
		return
	}
	failpoint.Hit("log.committed")
	written := b.settle(outcomes)
	if n := len(written); n > 0 {
		for _, e := range written {
			e.Body = nil // whoever wants it reads it from the store
		}
		l.tail.append(written)
		l.head.advance(written[n-1].Seq)
		for _, e := range written {
			if e.PayloadMismatch {
				l.opt.Observer.Mismatched()
			}
		}
	}
	l.opt.Observer.Committed(len(written), len(b.all)-len(written), start.Sub(first.since), time.Since(start),
		len(l.queue)+int(l.door.waiting.Load()))
	b.reply()
	b.ended, b.expected = time.Now(), len(b.all)+len(l.queue)
}

// reopenIfClosed opens a store anew that somebody else's failed write has closed
// to all: without an event to commit nobody else would.
func (l *Log) reopenIfClosed() {
	ref := l.store.Load()
	if ref == nil {
		return
	}
	if _, err := ref.Projected(l.stopped); errors.Is(err, storage.ErrClosed) {
		l.log.Error("the store has closed itself after a failed write, reopening it")
		l.reopen()
	}
}

// reopen closes a store whose state is in doubt and opens it again. What waits
// meanwhile is refused: a sender's retry finds whatever was written.
func (l *Log) reopen() {
	acknowledged := l.head.load()
	ref := l.store.Swap(nil)
	if err := ref.Close(); err != nil {
		l.log.Warn("closing the store after a failed commit", zap.Error(err))
	}
	backoff := reopenBackoffMin
	for {
		l.refuseQueued()
		err := l.openStore()
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
	l.verify(acknowledged)
}

// verify checks a reopened store against what had been acknowledged.
func (l *Log) verify(acknowledged uint64) {
	store, err := l.Store()
	if err != nil {
		return
	}
	bounds, err := store.Bounds(l.stopped)
	switch {
	case err != nil:
		l.log.Error("verifying the reopened store", zap.Error(err))
	case bounds.Last < acknowledged:
		l.log.Error("the reopened store lacks acknowledged events",
			zap.Uint64("acknowledged", acknowledged), zap.Uint64("last", bounds.Last))
	default:
		l.log.Info("store reopened", zap.Uint64("acknowledged", acknowledged), zap.Uint64("last", bounds.Last))
	}
}

func (l *Log) refuseQueued() {
	for {
		select {
		case p := <-l.queue:
			l.queued.Add(-int64(len(p.event.Body)))
			p.done <- outcome{err: ErrUnavailable}
		default:
			return
		}
	}
}

// prune does one step of retention and asks for another if there is more.
func (l *Log) prune(again *time.Timer) {
	start := time.Now()
	store, err := l.Store()
	if err != nil {
		return
	}
	n, more, err := store.Prune(l.stopped, time.Now().Add(-l.opt.Retention), l.projected.load(), pruneStep)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			l.log.Error("retention", zap.Error(err))
		}
		return
	}
	if n > 0 {
		l.opt.Observer.Pruned(n)
	}
	if more {
		again.Reset(time.Since(start))
	}
}
