package fair

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// ErrFull is returned by Acquire when too many callers wait.
var ErrFull = errors.New("too many reads are waiting")

// How many callers may wait, for one key and for all together.
const (
	maxWaitingPerKey = 1024
	maxWaiting       = 16384
)

// Limiter limits how many callers work at the same time. Others wait, and keys
// take turns.
//
// It is for bulk work that must not delay interactive work. A caller works for
// a few milliseconds per slot and acquires a new one for more. So the work of
// one key does not delay other keys, and work that needs no slot, such as
// webhooks and live streams, always has the other processors.
type Limiter struct {
	mu      sync.Mutex
	free    int
	waiting Queue[*waiter]
	release func()
}

type waiter struct {
	ready   chan struct{}
	granted bool // Guarded by Limiter.mu.
}

// Slots returns the default number of slots: half of the processors that Go
// uses, and at least one.
func Slots() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// NewLimiter returns a limiter for so many concurrent callers.
func NewLimiter(slots int) *Limiter {
	l := &Limiter{free: max(1, slots)}
	l.release = l.releaseSlot // Allocated once for all callers.
	return l
}

// Acquire waits for a slot. Keys take turns; callers of one key are served in
// order of arrival. The caller must call release exactly once. release lets
// other goroutines run before it passes the slot on. The error is ErrFull or
// the error of ctx.
func (l *Limiter) Acquire(ctx context.Context, key string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.free > 0 { // No caller waits then.
		l.free--
		l.mu.Unlock()
		return l.release, nil
	}
	if l.waiting.Len() >= maxWaiting || l.waiting.LenOf(key) >= maxWaitingPerKey {
		l.mu.Unlock()
		return nil, ErrFull
	}
	w := &waiter{ready: make(chan struct{})}
	item := l.waiting.Push(key, w)
	l.mu.Unlock()
	select {
	case <-w.ready:
		return l.release, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.granted {
		l.grantNext()
	} else {
		l.waiting.Remove(item)
	}
	return nil, ctx.Err()
}

// Waiting returns how many callers wait for a slot.
func (l *Limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Len()
}

func (l *Limiter) releaseSlot() {
	// Yield first, while this goroutine still holds the slot, so that all
	// runnable goroutines run before the next caller.
	runtime.Gosched()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grantNext()
}

// grantNext passes the slot to the next waiter.
func (l *Limiter) grantNext() {
	w, ok := l.waiting.Pop()
	if !ok {
		l.free++
		return
	}
	w.granted = true
	close(w.ready)
}
