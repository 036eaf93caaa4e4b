package eventlog

import (
	"context"
	"sync"
	"sync/atomic"
)

// watermark is a number that increases and that callers can wait for.
type watermark struct {
	value atomic.Uint64

	mu     sync.Mutex
	raised chan struct{} // Closed at the next increase. nil while nobody waits.
	closed bool
}

func (w *watermark) load() uint64 { return w.value.Load() }

func (w *watermark) advance(to uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to <= w.value.Load() {
		return
	}
	w.value.Store(to)
	w.wake()
}

// close makes all waiters return ErrClosed.
func (w *watermark) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.wake()
}

func (w *watermark) wake() {
	if w.raised != nil {
		close(w.raised)
		w.raised = nil
	}
}

// set changes the number even if it decreases, because what it counts was lost.
func (w *watermark) set(to uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.value.Store(to)
	w.wake()
}

// changed returns a channel that is closed at the next increase or notify.
func (w *watermark) changed() (<-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	if w.raised == nil {
		w.raised = make(chan struct{})
	}
	return w.raised, nil
}

// notify wakes all waiters, who check again.
func (w *watermark) notify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake()
}

// wait returns the number as soon as it is greater than after.
func (w *watermark) wait(ctx context.Context, after uint64) (uint64, error) {
	for {
		w.mu.Lock()
		if v := w.value.Load(); v > after {
			w.mu.Unlock()
			return v, nil
		}
		if w.closed {
			w.mu.Unlock()
			return 0, ErrClosed
		}
		if w.raised == nil {
			w.raised = make(chan struct{})
		}
		rise := w.raised
		w.mu.Unlock()

		select {
		case <-rise:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
