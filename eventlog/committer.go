package eventlog

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// What one commit gathers at most: more than admission lets in, and no more than
// an engine takes. One event alone may be larger.
const (
	batchEvents = storage.MaxBatchEvents / 2
	batchBytes  = storage.MaxBatchBytes / 2
)

// commitLoop owns all writing of events, and the store's opening.
func (l *Log) commitLoop() {
	defer l.finished.Done()
	b := newBatch()
	for {
		select {
		case <-l.queue.ready:
			for p := l.queue.pop(anySize); p != nil; p = l.queue.pop(anySize) {
				l.commit(b, p)
				l.reopenIfClosed()
			}
		case <-l.trouble:
			l.reopenIfClosed()
		case <-l.stop:
			// Nothing enters the queue any more: Close took the lock.
			for p := l.queue.pop(anySize); p != nil; p = l.queue.pop(anySize) {
				l.commit(b, p)
			}
			return
		}
	}
}

// anySize is room for any event.
const anySize = 1 << 62

// commit gathers a batch that begins with first and makes it durable.
func (l *Log) commit(b *batch, first *pending) {
	b.reset()
	l.gather(b, first)
	store := l.store.Load()
	for p := first; p != nil; {
		if p.event.BodyRef != "" && p.store != store {
			// The store was opened anew since, and has swept what no record names.
			p.done <- outcome{err: ErrUnavailable}
		} else {
			b.add(p)
		}
		p = nil
		if len(b.all) < batchEvents && b.bytes < batchBytes {
			p = l.queue.pop(storage.MaxBatchBytes - b.bytes)
		}
	}
	if len(b.all) == 0 {
		return
	}
	start := time.Now()
	logged := l.clock.now()
	for _, e := range b.events {
		e.ProcessingTime = start.Sub(e.ReceivedAt)
		e.LoggedAt = logged
	}
	if store == nil {
		b.fail(ErrUnavailable)
		return
	}
	// The log's own end is no reason to drop what was taken: no ctx of it here.
	l.feed.committing.Store(true)
	c, err := store.CommitBatch(context.Background(), b.events)
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrNoSpace), errors.Is(err, storage.ErrBusy):
		l.feed.committing.Store(false)
		b.fail(err)
		return
	case errors.Is(err, storage.ErrClosed):
		l.feed.committing.Store(false)
		b.fail(ErrUnavailable)
		l.reopenIfClosed()
		return
	default:
		l.feed.committing.Store(false)
		l.log.Error("commit failed; its outcome is unknown, reopening the store", zap.Int("events", len(b.events)), zap.Error(err))
		b.fail(ErrOutcomeUnknown)
		l.reopen()
		return
	}
	failpoint.Hit("log.committed")
	written := b.settle(c.Outcomes)
	for _, e := range written {
		e.Body = nil // whoever wants it reads it from the store
	}
	l.feed.committed(store, c.Before, written)
	for _, e := range written {
		if e.PayloadMismatch {
			l.opt.Observer.Mismatched()
		}
	}
	l.opt.Observer.Committed(len(written), len(b.all)-len(written), start.Sub(first.since), time.Since(start),
		l.queue.len()+int(l.admission.waiting.Load()))
	b.reply()
	b.ended, b.expected = time.Now(), len(b.all)+l.queue.len()
}
