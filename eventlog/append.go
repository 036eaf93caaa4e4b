package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// appendTimeout bounds the wait for a commit, so that callers do not pile up
// behind a disk that hangs.
const appendTimeout = 30 * time.Second

// Result is the result of an append.
type Result struct {
	// Seq is the sequence number of the event. For a duplicate it is that of the
	// original.
	Seq       uint64
	Duplicate bool
}

// pending is an event that waits for its commit. A pending is reused, unless
// its caller left before the answer.
type pending struct {
	event *event.Event
	// The store that prepared the event. A body that was put aside is in this
	// store only.
	handle *storeHandle
	size   int64 // The event's size in memory.
	since  time.Time
	// Buffered, so that the committer does not wait for a caller that has left.
	done  chan outcome
	timer *time.Timer
	next  *pending // The next event in the queue.
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

// Append makes the event durable and returns its sequence number. When it
// returns without an error, the event has been synced to disk. The event must
// not be changed afterwards. Its strings must not share memory with its body,
// because the log releases the body.
//
// If ctx ends first, or the commit takes longer than 30 seconds, the event may
// still be committed.
func (l *Log) Append(ctx context.Context, e *event.Event) (Result, error) {
	r, err := l.append(ctx, e)
	if err != nil && ctx.Err() == nil {
		l.opt.Observer.Refused(err)
	}
	return r, err
}

func (l *Log) append(ctx context.Context, e *event.Event) (Result, error) {
	if err := l.refuses(); err != nil {
		return Result{}, err // Checked before a body is put aside.
	}
	store := l.store.Load()
	if store == nil {
		return Result{}, l.unavailableReason()
	}
	o, err := store.Prepare(ctx, e)
	switch {
	case err != nil:
		return Result{}, l.prepareFailed(ctx, err)
	case o.Duplicate:
		return l.duplicate(ctx, o.Seq)
	}
	p := l.commits.pendings.Get().(*pending)
	p.event, p.handle, p.size, p.since = e, store, memorySize(e), time.Now()
	if err := l.enqueue(p); err != nil {
		store.Discard(e)
		l.putPending(p)
		return Result{}, err
	}
	// This is a timer and not a context with a deadline: creating such a context
	// and removing it from its parent costs ten times as much.
	p.timer.Reset(appendTimeout)
	select {
	case o := <-p.done:
		p.timer.Stop()
		l.putPending(p)
		discard(store, e, o)
		return o.Result, o.err
	case <-ctx.Done():
		l.discardLater(p, e)
		return Result{}, ctx.Err()
	case <-p.timer.C:
		l.discardLater(p, e)
		return Result{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.DeadlineExceeded)
	}
}

// discard deletes the body that was put aside for an event that was certainly
// not written. If the outcome is unknown, the next open of the store decides.
func discard(store *storeHandle, e *event.Event, o outcome) {
	if o.Duplicate || errors.Is(o.err, storage.ErrNoSpace) || errors.Is(o.err, storage.ErrBusy) {
		store.Discard(e)
	}
}

// discardLater calls discard when the committer has answered, for a caller that
// has left.
func (l *Log) discardLater(p *pending, e *event.Event) {
	if e.BodyRef == "" {
		return
	}
	store := p.handle
	go func() { discard(store, e, <-p.done) }()
}

// duplicate returns the result for an event that the log already holds. It
// first waits until readers can see the original, so that a client that is told
// of an event can read it.
func (l *Log) duplicate(ctx context.Context, original uint64) (Result, error) {
	if l.Head() < original {
		waiting, cancel := context.WithTimeout(ctx, appendTimeout)
		defer cancel()
		if _, err := l.Wait(waiting, original-1); err != nil {
			if ctx.Err() == nil && waiting.Err() != nil {
				err = ErrUnavailable
			}
			return Result{}, err
		}
	}
	l.opt.Observer.Duplicate()
	return Result{Seq: original, Duplicate: true}, nil
}

// prepareFailed returns the error for an event that could not be prepared.
// Nothing of it was written.
func (l *Log) prepareFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, storage.ErrClosed):
		return l.unavailableReason()
	case errors.Is(err, storage.ErrNoSpace), errors.Is(err, storage.ErrBusy), errors.Is(err, storage.ErrRebuilding):
		return err
	}
	l.log.Error("preparing an event", zap.Error(err))
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// putPending puts p back into the pool. Nobody else may hold it.
func (l *Log) putPending(p *pending) {
	p.event, p.handle = nil, nil
	l.commits.pendings.Put(p)
}

// refuses returns nil, or the reason why an event would be refused.
func (l *Log) refuses() error {
	store := l.store.Load()
	if store == nil {
		return l.unavailableReason()
	}
	if err := store.Writable(); err != nil {
		return unavailable(err)
	}
	if l.opt.Admission.QueueFull() {
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
	return l.commits.push(p)
}
