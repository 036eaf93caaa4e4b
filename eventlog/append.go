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

// appendTimeout bounds the wait for a commit: a disk that hangs must not collect
// callers without end.
const appendTimeout = 30 * time.Second

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
	store *guarded // that prepared it: a body put aside is there and nowhere else
	size  int64    // what it holds in memory
	since time.Time
	done  chan outcome // buffered, so that nobody waits for a caller who left
	timer *time.Timer
	next  *pending // that waits behind it
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
	r, err := l.append(ctx, e)
	if err != nil && ctx.Err() == nil {
		l.opt.Observer.Refused(err)
	}
	return r, err
}

func (l *Log) append(ctx context.Context, e *event.Event) (Result, error) {
	if err := l.refuses(); err != nil {
		return Result{}, err // before a body is put aside for nothing
	}
	store := l.store.Load()
	if store == nil {
		return Result{}, l.away()
	}
	o, err := store.Prepare(ctx, e)
	switch {
	case err != nil:
		return Result{}, l.unprepared(ctx, err)
	case o.Duplicate:
		return l.duplicate(ctx, o.Seq)
	}
	p := l.commits.pendings.Get().(*pending)
	p.event, p.store, p.size, p.since = e, store, held(e), time.Now()
	if err := l.enqueue(p); err != nil {
		store.Discard(e)
		l.reuse(p)
		return Result{}, err
	}
	// A timer of our own: a context with a deadline is made, registered with its
	// parent and taken out again for ten times the price.
	p.timer.Reset(appendTimeout)
	select {
	case o := <-p.done:
		p.timer.Stop()
		l.reuse(p)
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

// discard gives up the body that was put aside for an event of which nothing was
// written. Of an unknown outcome the next open of the store finds out.
func discard(store *guarded, e *event.Event, o outcome) {
	if o.Duplicate || errors.Is(o.err, storage.ErrNoSpace) || errors.Is(o.err, storage.ErrBusy) {
		store.Discard(e)
	}
}

// discardLater does it for a caller that has left. The committer answers everybody.
func (l *Log) discardLater(p *pending, e *event.Event) {
	if e.BodyRef == "" {
		return
	}
	store := p.store
	go func() { discard(store, e, <-p.done) }()
}

// duplicate answers for an event that the log holds already. Who is told of an
// event can read it: one that was committed just now may not have come to readers.
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

// unprepared is what a caller hears whose event could not be prepared. Nothing
// of it is in the log.
func (l *Log) unprepared(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, storage.ErrClosed):
		return l.away()
	case errors.Is(err, storage.ErrNoSpace), errors.Is(err, storage.ErrBusy), errors.Is(err, storage.ErrRebuilding):
		return err
	}
	l.log.Error("preparing an event", zap.Error(err))
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// reuse gives back a pending that nobody else holds any more.
func (l *Log) reuse(p *pending) {
	p.event, p.store = nil, nil
	l.commits.pendings.Put(p)
}

// refuses is why an event would be refused now, or nil.
func (l *Log) refuses() error {
	store := l.store.Load()
	if store == nil {
		return l.away()
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
