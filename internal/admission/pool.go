package admission

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// LargeBody is the size above which a body is large. Large bodies share a part
// of the pool, so that small ones find memory however many large ones arrive.
const LargeBody = 256 << 10

// MaxWait is how long a body waits for memory.
const MaxWait = 2 * time.Second

const (
	// reserveTime is how long the missing part of a large body is kept free after
	// the body has received reserveBytes.
	reserveTime  = 250 * time.Millisecond
	reserveBytes = 32 << 10
	// recheckInterval is how often expired reservations are checked for while
	// bodies wait.
	recheckInterval = 50 * time.Millisecond
	// maxWaiting limits how many bodies wait.
	maxWaiting = 256
	// A sender with several bodies may hold shareFactor times what is free:
	// alone, seven eighths of the pool.
	shareFactor = 7
)

// pool is the memory of the bodies of one class.
type pool struct {
	controller *Controller
	class      Class

	mu          sync.Mutex
	held        int64 // By all bodies.
	large       int64 // By large bodies.
	ending      int64 // By bodies that were ended and are not released yet.
	shares      map[Key]*share
	spare       []*share // For reuse.
	first       *Admission
	arriving    int
	largeBodies []*Admission // The large ones of the arriving bodies.
	displacedAt time.Time    // When bodies were last displaced.
	queue       []*waiter
	timer       *time.Timer
	ticking     bool
	measuredAt  time.Time // When rates were last measured.
}

// share is what the bodies of one sender hold.
type share struct {
	held   int64
	bodies int
}

// waiter is a body that waits for memory.
type waiter struct {
	admission      *Admission
	size, expected int64
	large          bool
	isNew          bool  // Holds nothing yet.
	speed          int64 // Bytes per second before it had to wait.
	done           bool  // Granted, or err is set.
	err            error
	ready          chan struct{}
}

func newPool(c *Controller, class Class) *pool {
	return &pool{controller: c, class: class, shares: make(map[Key]*share)}
}

// addBody adds a body to its sender's share.
func (p *pool) addBody(a *Admission) {
	if a.share != nil {
		return
	}
	s := p.shares[a.key]
	if s == nil {
		if n := len(p.spare); n > 0 {
			s, p.spare = p.spare[n-1], p.spare[:n-1]
		} else {
			s = new(share)
		}
		p.shares[a.key] = s
	}
	s.bodies++
	a.share = s
}

// removeBody undoes addBody.
func (p *pool) removeBody(a *Admission) {
	s := a.share
	a.share = nil
	if s.bodies--; s.bodies == 0 {
		delete(p.shares, a.key)
		if *s = (share{}); len(p.spare) < 64 {
			p.spare = append(p.spare, s)
		}
	}
}

// newBodiesWaiting reports whether new bodies of that kind wait.
func (p *pool) newBodiesWaiting(large bool) bool {
	return len(p.queue) > 0 && slices.ContainsFunc(p.queue, func(w *waiter) bool { return w.isNew && w.large == large })
}

// shortfall returns how many bytes are missing to give the body size more
// bytes.
//
// A new large body needs memory for its expected size in addition to what is
// reserved for others; otherwise many could begin and all get stuck. A large
// body that has begun takes what is free. A body that is alone in the pool, or
// the only large one, gets what it needs; otherwise the largest body could not
// be copied into its last buffer.
func (p *pool) shortfall(a *Admission, size, whole int64, large bool) int64 {
	l := &a.limits
	if p.held == a.bytes {
		return max(0, size-l.Total)
	}
	if !large {
		return max(p.held+size-l.Total, p.overShare(a, size))
	}
	others := p.large
	if a.large {
		others -= a.bytes
	}
	promised := p.reserved(a)
	if others == 0 && promised == 0 {
		return max(0, p.held-a.bytes+size-l.Total)
	}
	if a.large {
		return max(0, p.held+size-l.Total, p.large+size-l.Large)
	}
	return max(p.held+size-l.Total, p.large+a.bytes+max(size, promised+whole)-l.Large, p.overShare(a, whole))
}

// overShare returns by how many bytes a sender with several bodies would exceed
// its share.
func (p *pool) overShare(a *Admission, size int64) int64 {
	if a.share.held == a.bytes {
		return 0 // The sender has no other body.
	}
	size -= a.bytes // Without what it releases soon.
	return max(0, a.share.held+size-shareFactor*(a.limits.Total-p.held-size))
}

// reserved returns what is kept free for the arriving large bodies other than
// a.
func (p *pool) reserved(a *Admission) (sum int64) {
	if len(p.largeBodies) == 0 {
		return 0
	}
	now := time.Now().UnixNano()
	for _, other := range p.largeBodies {
		if other != a && other.reservedUntil.Load() > now {
			sum += max(0, other.expected-other.bytes)
		}
	}
	return sum
}

func (p *pool) grant(a *Admission, size, whole int64, large bool) {
	if large && !a.large {
		a.large = true
		p.large += a.bytes
		p.largeBodies = append(p.largeBodies, a)
	}
	if a.large {
		p.large += size
		a.reservedUntil.Store(time.Now().Add(reserveTime).UnixNano())
	}
	p.held += size
	a.share.held += size
	a.bytes += size
	a.expected = whole
	p.addArriving(a)
}

// free releases n bytes of the body.
func (p *pool) free(a *Admission, n int64) {
	p.held -= n
	a.share.held -= n
	a.bytes -= n
	if a.large {
		p.large -= n
	}
	if a.arriving && a.Ended() != nil {
		p.ending -= n
	}
}

// enqueue adds a waiter. If too many wait, the slowest is refused; among
// equally slow ones, the one whose sender holds most. It returns false if that
// is w.
func (p *pool) enqueue(w *waiter) bool {
	a := w.admission
	w.speed = a.averageRate(time.Now())
	if len(p.queue) >= maxWaiting {
		last := w
		for _, other := range p.queue {
			if c := cmp.Compare(other.speed, last.speed); c < 0 || c == 0 && other.admission.share.held > last.admission.share.held {
				last = other
			}
		}
		if last == w {
			return false
		}
		p.controller.refusals[p.class].Add(1)
		p.endWait(last, ErrFull)
	}
	a.waiting = true
	a.reservedUntil.Store(time.Now().Add(MaxWait).UnixNano()) // It receives nothing while it waits.
	p.queue = append(p.queue, w)
	if len(p.queue) == 1 {
		p.schedule(recheckInterval)
	}
	return true
}

// endWait ends a wait with a result.
func (p *pool) endWait(w *waiter, err error) {
	p.queue = slices.DeleteFunc(p.queue, func(other *waiter) bool { return other == w })
	a := w.admission
	a.waiting = false
	a.deadline = time.Now().Add(a.limits.Grace)
	w.err, w.done = err, true
	close(w.ready)
}

func (p *pool) wait(ctx context.Context, w *waiter) error {
	patience := time.NewTimer(MaxWait)
	defer patience.Stop()
	err := ErrFull
	select {
	case <-w.ready:
		return w.err
	case <-patience.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.done {
		return w.err
	}
	p.controller.refusals[p.class].Add(1)
	p.endWait(w, err)
	p.grantWaiting() // A later waiter may need less.
	return err
}

// grantWaiting grants memory to waiters: first to large bodies that have begun,
// then to small ones, then to new large ones. Among small ones the fastest is
// first. A new large body is not overtaken by one that needs less.
func (p *pool) grantWaiting() {
	if len(p.queue) == 0 {
		return
	}
	for _, kind := range []func(*waiter) bool{
		func(w *waiter) bool { return w.large && !w.isNew },
		func(w *waiter) bool { return !w.large },
		func(w *waiter) bool { return w.large && w.isNew },
	} {
		for w := p.firstWaiter(kind); w != nil; w = p.firstWaiter(kind) {
			p.grant(w.admission, w.size, w.expected, w.large)
			p.endWait(w, nil)
		}
	}
}

// firstWaiter returns the first waiter of a kind.
func (p *pool) firstWaiter(kind func(*waiter) bool) (found *waiter) {
	room := false
	for _, w := range p.queue {
		if !kind(w) || found != nil && !w.before(found) {
			continue
		}
		fits := p.shortfall(w.admission, w.size, w.expected, w.large) == 0
		if inOrder := w.large && w.isNew && p.overShare(w.admission, w.expected) == 0; !fits && !inOrder {
			continue
		}
		found, room = w, fits
	}
	if !room {
		return nil
	}
	return found
}

// before reports whether w comes before another waiter of its kind that came
// earlier.
func (w *waiter) before(other *waiter) bool {
	if !w.large && w.speed != other.speed {
		return w.speed > other.speed
	}
	return w.admission.share.held < other.admission.share.held
}
