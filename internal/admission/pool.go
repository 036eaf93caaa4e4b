package admission

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// LargeBody is the size beyond which a body is a large one. Large ones have a part
// of the pool between them, so that however many come, small ones find room.
const LargeBody = 256 << 10

// MaxWait is how long a body waits for room.
const MaxWait = 2 * time.Second

const (
	// reserveTime is how long what a large body has yet to bring is kept free for
	// it after it brought livelyBytes.
	reserveTime  = 250 * time.Millisecond
	reserveBytes = 32 << 10
	// recheckInterval is how often it is looked whether that has come to an end for
	// somebody, while others wait.
	recheckInterval = 50 * time.Millisecond
	// maxWaiting bounds how many bodies wait.
	maxWaiting = 256
	// shareFactor is how many times what is left free a sender with several bodies
	// may hold: alone, seven eighths of the pool.
	shareFactor = 7
)

// pool is what the bodies of a class hold.
type pool struct {
	controller *Controller
	class      Class

	mu          sync.Mutex
	held        int64 // by all bodies
	large       int64 // by large bodies
	ending      int64 // by bodies that were ended and are not gone yet
	shares      map[Key]*share
	spare       []*share // for use again
	first       *Admission
	arriving    int
	largeBodies []*Admission // the large ones of those that arrive
	displacedAt time.Time    // when bodies were last ended for want of room
	queue       []*waiter
	timer       *time.Timer
	ticking     bool
	measuredAt  time.Time // when rates were last measured
}

// share is what the bodies of one sender hold.
type share struct {
	held   int64
	bodies int
}

// waiter is a body that waits for room.
type waiter struct {
	admission      *Admission
	size, expected int64
	large          bool
	isNew          bool  // holds nothing yet
	speed          int64 // bytes a second until it had to wait
	done           bool  // granted, or err is set
	err            error
	ready          chan struct{}
}

func newPool(c *Controller, class Class) *pool {
	return &pool{controller: c, class: class, shares: make(map[Key]*share)}
}

// addBody counts a body among its sender's.
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

// removeBody is the opposite of enter.
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

// newBodiesWaiting reports whether bodies of that kind wait to begin.
func (p *pool) newBodiesWaiting(large bool) bool {
	return len(p.queue) > 0 && slices.ContainsFunc(p.queue, func(w *waiter) bool { return w.isNew && w.large == large })
}

// shortfall is how many bytes there are too few for the body to have size more.
//
// A large body that begins needs room for all that was announced, beside what
// others were promised: or many could begin that all get stuck. One that goes on
// takes what there is. A body that has the pool or the large ones' part for itself
// gets what it needs of it, or the largest could never be copied into its last
// buffer.
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

// overShare is by how much a sender with several bodies would have more than its
// share.
func (p *pool) overShare(a *Admission, size int64) int64 {
	if a.share.held == a.bytes {
		return 0 // it has no other
	}
	size -= a.bytes // which it gives back soon
	return max(0, a.share.held+size-shareFactor*(a.limits.Total-p.held-size))
}

// reserved is what is kept free for the large bodies that arrive, other than a.
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

// free gives n of the body's bytes back.
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

// enqueue has a body wait. Where too many do already, the slowest makes way, of
// equal ones the one whose sender holds most; false if that is this one.
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
	a.reservedUntil.Store(time.Now().Add(MaxWait).UnixNano()) // it brings nothing while it waits
	p.queue = append(p.queue, w)
	if len(p.queue) == 1 {
		p.schedule(recheckInterval)
	}
	return true
}

// endWait ends a wait.
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
	p.grantWaiting() // who came after it may be smaller
	return err
}

// grantWaiting gives room to those that wait: first to large bodies that have begun, then
// to small ones, then to large ones that begin. Of small ones that which arrives
// fastest comes first. A large body that begins is not overtaken by one that needs
// less.
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

// firstWaiter is the one of a kind that is to have room now.
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

// before reports whether w comes before another of its kind that came earlier.
func (w *waiter) before(other *waiter) bool {
	if !w.large && w.speed != other.speed {
		return w.speed > other.speed
	}
	return w.admission.share.held < other.admission.share.held
}
