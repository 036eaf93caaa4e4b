// Package inflight bounds the bytes of request bodies that are held at once.
//
// Bodies come in two sizes. Small ones are taken or refused at once. Large ones
// have a part of the budget between them, so that however many come, small ones
// find room; and they may wait a moment for it, in order, because turning away
// what has begun to arrive wastes what was spent on it.
package inflight

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// LargeBody is the size from which on a body is a large one.
const LargeBody = 256 << 10

// Patience is how long a large body waits for room.
const Patience = 2 * time.Second

const (
	// livelyFor is how long what a large body has yet to bring is kept free for
	// it after it brought livelyBytes.
	livelyFor   = 250 * time.Millisecond
	livelyBytes = 32 << 10
	// recheck is how often who waits looks whether that has come to an end for
	// somebody.
	recheck = 50 * time.Millisecond
	// mostWaiting bounds how many bodies wait.
	mostWaiting = 256
)

// ErrFull is returned where there is no room for a body.
var ErrFull = errors.New("too many request bodies are held at once")

// Limits of a budget, in bytes.
type Limits struct {
	// Total is for all bodies.
	Total int64
	// Large is for the large ones among them.
	Large int64
}

// LimitsOf are the limits for that total: three quarters of it for large bodies,
// or as much as the largest one takes.
func LimitsOf(total, largest int64) Limits {
	return Limits{Total: total, Large: min(total, max(total/4*3, largest))}
}

// Budget is what is held. Its zero value is an empty budget. Every body brings
// the limits that it is measured by, so that budgets outlive configurations.
type Budget struct {
	held    atomic.Int64 // by all bodies
	waiting atomic.Int64 // how many wait; changed under mu

	mu      sync.Mutex
	large   int64   // held by large bodies
	arrives []*Hold // large bodies that are being read, oldest first
	queue   []*waiter
}

// Hold is what one body holds. One goroutine uses it at a time. Its zero value
// holds nothing, and all that may be done with it is Release.
type Hold struct {
	budget *Budget
	limits Limits
	bytes  int64
	large  bool

	// Of a large body that arrives:
	whole  int64        // what it will take, as far as is known
	lively atomic.Int64 // until when that is kept free for it, in Unix nanoseconds
	fresh  int64        // bytes read since lively was set
}

type waiter struct {
	hold    *Hold
	size    int64
	whole   int64
	granted bool
	ready   chan struct{}
}

// Held is how many bytes are held.
func (b *Budget) Held() int64 { return b.held.Load() }

// Large is how many bytes large bodies hold.
func (b *Budget) Large() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.large
}

// Waiting is how many bodies wait for room.
func (b *Budget) Waiting() int { return int(b.waiting.Load()) }

// Begin sets h up for a body. It holds nothing yet.
func (b *Budget) Begin(h *Hold, limits Limits) { h.budget, h.limits = b, limits }

// Bytes is what the body holds.
func (h *Hold) Bytes() int64 { return h.bytes }

// Grow takes room for a buffer of size bytes beside the one that the body has
// already: while what has arrived is copied, both are there. Settle follows.
// whole is how large the buffer will become, as far as is known. A large body
// waits for room for as long as Patience; the error is ErrFull, or that of ctx.
func (h *Hold) Grow(ctx context.Context, size, whole int64) error {
	b := h.budget
	if !h.large && whole <= LargeBody {
		if b.held.Add(size) > h.limits.Total {
			b.give(size)
			return ErrFull
		}
		h.bytes += size
		return nil
	}
	b.mu.Lock()
	w := &waiter{hold: h, size: size, whole: whole}
	if (h.large || !b.entering()) && b.fits(w) {
		b.grant(w)
		b.mu.Unlock()
		return nil
	}
	if len(b.queue) >= mostWaiting {
		b.mu.Unlock()
		return ErrFull
	}
	w.ready = make(chan struct{})
	h.lively.Store(time.Now().Add(Patience).UnixNano()) // it brings nothing while it waits
	b.queue = append(b.queue, w)
	b.waiting.Add(1)
	// Room may have come free since it was looked for: who gives a small body's
	// back takes no lock while nobody waits.
	b.serve()
	b.mu.Unlock()
	return b.wait(ctx, w)
}

func (b *Budget) wait(ctx context.Context, w *waiter) error {
	patience := time.NewTimer(Patience)
	defer patience.Stop()
	again := time.NewTicker(recheck)
	defer again.Stop()
	err := ErrFull
	for waits := true; waits; {
		select {
		case <-w.ready:
			return nil
		case <-again.C:
			b.mu.Lock()
			b.serve()
			b.mu.Unlock()
		case <-patience.C:
			waits = false
		case <-ctx.Done():
			err, waits = ctx.Err(), false
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.granted {
		return nil
	}
	b.queue = slices.DeleteFunc(b.queue, func(other *waiter) bool { return other == w })
	b.waiting.Add(-1)
	b.serve() // who came after it may be smaller
	return err
}

// entering reports whether bodies wait to begin.
func (b *Budget) entering() bool {
	return slices.ContainsFunc(b.queue, func(w *waiter) bool { return !w.hold.large })
}

// fits reports whether there is room. A body that begins needs it for all that
// was announced, beside what others were promised: or many could begin that all
// get stuck. One that goes on takes what there is.
//
// A body that has the large ones' part for itself gets what it needs of it, or
// the largest could never be copied into its last buffer.
func (b *Budget) fits(w *waiter) bool {
	h := w.hold
	held, large := b.held.Load()+w.size, b.large+w.size
	alone := b.large
	if h.large {
		alone -= h.bytes
	} else {
		large += h.bytes
	}
	if alone == 0 && b.promised(h) == 0 {
		return held-h.bytes <= h.limits.Total
	}
	if !h.large {
		large = max(large, b.large+b.promised(h)+w.whole)
	}
	return held <= h.limits.Total && large <= h.limits.Large
}

// promised is what is kept free for the bodies that arrive, other than h.
func (b *Budget) promised(h *Hold) (sum int64) {
	now := time.Now().UnixNano()
	for _, other := range b.arrives {
		if other != h && other.lively.Load() > now {
			sum += max(0, other.whole-other.bytes)
		}
	}
	return sum
}

func (b *Budget) grant(w *waiter) {
	h := w.hold
	if !h.large {
		h.large = true
		b.large += h.bytes
		b.arrives = append(b.arrives, h)
	}
	b.held.Add(w.size)
	b.large += w.size
	h.bytes += w.size
	h.whole = w.whole
	h.lively.Store(time.Now().Add(livelyFor).UnixNano())
	w.granted = true
	if w.ready != nil {
		close(w.ready)
	}
}

// serve gives room to those that wait. Bodies that have begun come first, and of
// them all that find room; those that begin do so in their order.
func (b *Budget) serve() {
	if len(b.queue) == 0 {
		return
	}
	for _, began := range []bool{true, false} {
		blocked := false
		b.queue = slices.DeleteFunc(b.queue, func(w *waiter) bool {
			if w.granted || w.hold.large != began || blocked {
				return w.granted
			}
			if !b.fits(w) {
				blocked = !began
				return false
			}
			b.grant(w)
			b.waiting.Add(-1)
			return true
		})
	}
}

// give gives bytes back.
func (b *Budget) give(n int64) {
	b.held.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.serve()
		b.mu.Unlock()
	}
}

// Read tells that n more bytes have arrived.
func (h *Hold) Read(n int) {
	if !h.large {
		return
	}
	if h.fresh += int64(n); h.fresh >= livelyBytes {
		h.fresh = 0
		h.lively.Store(time.Now().Add(livelyFor).UnixNano())
	}
}

// Settle gives back all but size bytes: those of the buffers that are not the
// body's any more.
func (h *Hold) Settle(size int64) { h.shrink(h.bytes - size) }

// Arrived says that the body is read: nothing more is kept free for it.
func (h *Hold) Arrived() {
	if !h.large {
		return
	}
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrives = slices.DeleteFunc(b.arrives, func(other *Hold) bool { return other == h })
	b.serve()
}

// Release gives back everything. It may be called more than once.
func (h *Hold) Release() {
	if h.bytes == 0 {
		return
	}
	h.Arrived()
	h.shrink(h.bytes)
}

func (h *Hold) shrink(n int64) {
	b := h.budget
	if !h.large {
		h.bytes -= n
		b.give(n)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h.bytes -= n
	b.large -= n
	b.held.Add(-n)
	b.serve()
}
