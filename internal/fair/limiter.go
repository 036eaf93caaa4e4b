package fair

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// ErrFull is returned by Acquire when too many wait already.
var ErrFull = errors.New("too many reads are waiting")

// How many may wait, of one key and of all together.
const (
	maxWaitingPerKey = 1024
	maxWaiting       = 16384
)

// Limiter lets a number of callers at a time work, and the others wait for their
// turn.
//
// It is for work in bulk that must not crowd out what is waited for: a caller
// does a few milliseconds of it in each turn and asks again for more. How much is
// asked for by one key is then nothing to the other ones, and what never asks, as
// webhooks and live delivery, has the rest of the processors at any time.
type Limiter struct {
	mu      sync.Mutex
	free    int
	waiting Queue[*waiter]
	release func()
}

type waiter struct {
	ready   chan struct{}
	granted bool // guarded by Limiter.mu
}

// Slots is how many may work at once where nothing else is said: half of the
// processors that Go uses, and one at least.
func Slots() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// NewLimiter returns a limiter that lets so many callers work at once.
func NewLimiter(slots int) *Limiter {
	l := &Limiter{free: max(1, slots)}
	l.release = l.releaseSlot // made once, or every turn would make one
	return l
}

// Acquire waits for a turn. Keys take turns; within a key, who came first is
// first. release ends the turn and has to be called exactly once. It lets others
// run before it hands the slot on. The error is ErrFull, or that of ctx.
func (l *Limiter) Acquire(ctx context.Context, key string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.free > 0 { // then nobody waits
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

// Waiting is how many callers wait for a turn.
func (l *Limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Len()
}

func (l *Limiter) releaseSlot() {
	// What can run, runs first: the goroutine goes to the end of the scheduler's
	// queue while it still has the slot.
	runtime.Gosched()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grantNext()
}

// grantNext gives the slot to who is next.
func (l *Limiter) grantNext() {
	w, ok := l.waiting.Pop()
	if !ok {
		l.free++
		return
	}
	w.granted = true
	close(w.ready)
}
