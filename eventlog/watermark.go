package eventlog

import (
	"context"
	"sync"
	"sync/atomic"
)

// watermark is a number that rises and that can be waited for.
type watermark struct {
	value atomic.Uint64

	mu     sync.Mutex
	rise   chan struct{} // closed at the next rise; nil while nobody waits
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

// close lets everyone who waits go with ErrClosed.
func (w *watermark) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.wake()
}

func (w *watermark) wake() {
	if w.rise != nil {
		close(w.rise)
		w.rise = nil
	}
}

// set moves the watermark wherever it is said to be: what it counts was lost.
func (w *watermark) set(to uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.value.Store(to)
	w.wake()
}

// changed is closed at the next rise or nudge.
func (w *watermark) changed() (<-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	if w.rise == nil {
		w.rise = make(chan struct{})
	}
	return w.rise, nil
}

// nudge has everyone who waits look again.
func (w *watermark) nudge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake()
}

// wait returns the value as soon as it is beyond after.
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
		if w.rise == nil {
			w.rise = make(chan struct{})
		}
		rise := w.rise
		w.mu.Unlock()

		select {
		case <-rise:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
