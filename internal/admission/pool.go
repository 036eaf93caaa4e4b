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

// Patience is how long a body waits for room.
const Patience = 2 * time.Second

const (
	// livelyFor is how long what a large body has yet to bring is kept free for
	// it after it brought livelyBytes.
	livelyFor   = 250 * time.Millisecond
	livelyBytes = 32 << 10
	// recheck is how often it is looked whether that has come to an end for
	// somebody, while others wait.
	recheck = 50 * time.Millisecond
	// mostWaiting bounds how many bodies wait.
	mostWaiting = 256
	// threshold is how many times what is left free a sender with several bodies
	// may hold: alone, seven eighths of the pool.
	threshold = 7
)

// pool is what the bodies of a class hold.
type pool struct {
	controller *Controller
	class      Class

	mu       sync.Mutex
	held     int64 // by all bodies
	large    int64 // by large bodies
	leaving  int64 // by bodies that were ended and are not gone yet
	shares   map[Key]*share
	spare    []*share // for use again
	first    *Admission
	arriving int
	larges   []*Admission // the large ones of those that arrive
	pressed  time.Time    // when bodies were last ended for want of room
	queue    []*waiter
	timer    *time.Timer
	ticking  bool
	looked   time.Time // when rates were last measured
}

// share is what the bodies of one sender hold.
type share struct {
	held   int64
	bodies int
}

// waiter is a body that waits for room.
type waiter struct {
	admission   *Admission
	size, whole int64
	large       bool
	beginner    bool  // holds nothing yet
	speed       int64 // bytes a second until it had to wait
	done        bool  // granted, or err is set
	err         error
	ready       chan struct{}
}

func newPool(c *Controller, class Class) *pool {
	return &pool{controller: c, class: class, shares: make(map[Key]*share)}
}

// enter counts a body among its sender's.
func (p *pool) enter(a *Admission) {
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

// exit is the opposite of enter.
func (p *pool) exit(a *Admission) {
	s := a.share
	a.share = nil
	if s.bodies--; s.bodies == 0 {
		delete(p.shares, a.key)
		if *s = (share{}); len(p.spare) < 64 {
			p.spare = append(p.spare, s)
		}
	}
}

// beginners reports whether bodies of that kind wait to begin.
func (p *pool) beginners(large bool) bool {
	return len(p.queue) > 0 && slices.ContainsFunc(p.queue, func(w *waiter) bool { return w.beginner && w.large == large })
}

// missing is how many bytes there are too few for the body to have size more.
//
// A large body that begins needs room for all that was announced, beside what
// others were promised: or many could begin that all get stuck. One that goes on
// takes what there is. A body that has the pool or the large ones' part for itself
// gets what it needs of it, or the largest could never be copied into its last
// buffer.
func (p *pool) missing(a *Admission, size, whole int64, large bool) int64 {
	l := &a.limits
	if p.held == a.bytes {
		return max(0, size-l.Total)
	}
	if !large {
		return max(p.held+size-l.Total, p.beyondShare(a, size))
	}
	others := p.large
	if a.large {
		others -= a.bytes
	}
	promised := p.promised(a)
	if others == 0 && promised == 0 {
		return max(0, p.held-a.bytes+size-l.Total)
	}
	if a.large {
		return max(0, p.held+size-l.Total, p.large+size-l.Large)
	}
	return max(p.held+size-l.Total, p.large+a.bytes+max(size, promised+whole)-l.Large, p.beyondShare(a, whole))
}

// beyondShare is by how much a sender with several bodies would have more than its
// share.
func (p *pool) beyondShare(a *Admission, size int64) int64 {
	if a.share.held == a.bytes {
		return 0 // it has no other
	}
	size -= a.bytes // which it gives back soon
	return max(0, a.share.held+size-threshold*(a.limits.Total-p.held-size))
}

// promised is what is kept free for the large bodies that arrive, other than a.
func (p *pool) promised(a *Admission) (sum int64) {
	if len(p.larges) == 0 {
		return 0
	}
	now := time.Now().UnixNano()
	for _, other := range p.larges {
		if other != a && other.lively.Load() > now {
			sum += max(0, other.whole-other.bytes)
		}
	}
	return sum
}

func (p *pool) grant(a *Admission, size, whole int64, large bool) {
	if large && !a.large {
		a.large = true
		p.large += a.bytes
		p.larges = append(p.larges, a)
	}
	if a.large {
		p.large += size
		a.lively.Store(time.Now().Add(livelyFor).UnixNano())
	}
	p.held += size
	a.share.held += size
	a.bytes += size
	a.whole = whole
	p.arrive(a)
}

// give gives n of the body's bytes back.
func (p *pool) give(a *Admission, n int64) {
	p.held -= n
	a.share.held -= n
	a.bytes -= n
	if a.large {
		p.large -= n
	}
	if a.arriving && a.Ended() != nil {
		p.leaving -= n
	}
}

// enqueue has a body wait. Where too many do already, the slowest makes way, of
// equal ones the one whose sender holds most; false if that is this one.
func (p *pool) enqueue(w *waiter) bool {
	a := w.admission
	w.speed = a.speed(time.Now())
	if len(p.queue) >= mostWaiting {
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
		p.finish(last, ErrFull)
	}
	a.blocked = true
	a.lively.Store(time.Now().Add(Patience).UnixNano()) // it brings nothing while it waits
	p.queue = append(p.queue, w)
	if len(p.queue) == 1 {
		p.schedule(recheck)
	}
	return true
}

// finish ends a wait.
func (p *pool) finish(w *waiter, err error) {
	p.queue = slices.DeleteFunc(p.queue, func(other *waiter) bool { return other == w })
	a := w.admission
	a.blocked = false
	a.behind = time.Now().Add(a.limits.Grace)
	w.err, w.done = err, true
	close(w.ready)
}

func (p *pool) wait(ctx context.Context, w *waiter) error {
	patience := time.NewTimer(Patience)
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
	p.finish(w, err)
	p.serve() // who came after it may be smaller
	return err
}

// serve gives room to those that wait: first to large bodies that have begun, then
// to small ones, then to large ones that begin. Of small ones that which arrives
// fastest comes first. A large body that begins is not overtaken by one that needs
// less.
func (p *pool) serve() {
	if len(p.queue) == 0 {
		return
	}
	for _, kind := range []func(*waiter) bool{
		func(w *waiter) bool { return w.large && !w.beginner },
		func(w *waiter) bool { return !w.large },
		func(w *waiter) bool { return w.large && w.beginner },
	} {
		for w := p.best(kind); w != nil; w = p.best(kind) {
			p.grant(w.admission, w.size, w.whole, w.large)
			p.finish(w, nil)
		}
	}
}

// best is the one of a kind that is to have room now.
func (p *pool) best(kind func(*waiter) bool) (found *waiter) {
	room := false
	for _, w := range p.queue {
		if !kind(w) || found != nil && !w.before(found) {
			continue
		}
		fits := p.missing(w.admission, w.size, w.whole, w.large) == 0
		if inOrder := w.large && w.beginner && p.beyondShare(w.admission, w.whole) == 0; !fits && !inOrder {
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
