package admission

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

const (
	// measureInterval is how often rates are measured.
	measureInterval = 500 * time.Millisecond
	// minBodyAge is the age from which a body's rate is meaningful.
	minBodyAge = 500 * time.Millisecond
	// displaceInterval is the shortest time between two displacements.
	displaceInterval = 10 * time.Millisecond
	// assumedRate is the rate in bytes per second that is assumed for a new body.
	assumedRate = 256 << 10
	// A large body does not displace another one that will be complete within
	// this time.
	nearlyDoneFactor = 10
)

// addArriving adds a body to those that arrive.
func (p *pool) addArriving(a *Admission) {
	if a.arriving {
		return
	}
	a.arriving = true
	a.since = time.Now()
	a.deadline = a.since.Add(a.limits.Grace)
	a.next = p.first
	if a.next != nil {
		a.next.prev = a
	}
	p.first = a
	p.arriving++
	a.ending.Lock()
	a.reading = true
	a.ending.Unlock()
	if !p.ticking {
		p.measuredAt = a.since
		p.schedule(measureInterval)
	}
}

// schedule makes tick run after the given time.
func (p *pool) schedule(in time.Duration) {
	p.ticking = true
	if p.timer == nil {
		p.timer = time.AfterFunc(in, p.tick)
	} else {
		p.timer.Reset(in)
	}
}

// averageRate returns the bytes per second since the body began.
func (a *Admission) averageRate(now time.Time) int64 {
	if !a.arriving {
		return assumedRate
	}
	age := max(now.Sub(a.since), time.Millisecond)
	return int64(float64(a.received.Load()) / age.Seconds())
}

// removeArriving undoes addArriving.
func (p *pool) removeArriving(a *Admission) {
	if !a.arriving {
		return
	}
	a.arriving = false
	if a.next != nil {
		a.next.prev = a.prev
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		p.first = a.next
	}
	a.next, a.prev = nil, nil
	p.arriving--
	if a.large {
		p.largeBodies = slices.DeleteFunc(p.largeBodies, func(other *Admission) bool { return other == a })
	}
	if a.Ended() != nil {
		p.ending -= a.bytes
	}
}

// recentRate returns the recent rate of a body.
func (a *Admission) recentRate(now time.Time) int64 {
	if now.Sub(a.since) < 2*measureInterval {
		return a.averageRate(now)
	}
	return a.rate
}

// tick measures rates, ends bodies below their minimum rate, and makes memory
// free for waiters. It runs as long as bodies arrive.
func (p *pool) tick() {
	p.mu.Lock()
	now := time.Now()
	var ended []*Admission
	if past := now.Sub(p.measuredAt); past >= measureInterval {
		p.measuredAt = now
		ended = p.measure(now, past)
	}
	p.grantWaiting()
	if len(p.queue) > 0 {
		first := slices.MaxFunc(p.queue, func(x, y *waiter) int { return cmp.Compare(x.speed, y.speed) })
		ended = append(ended, p.displace(first)...)
	}
	switch p.ticking = false; {
	case len(p.queue) > 0:
		p.schedule(recheckInterval)
	case p.first != nil:
		p.schedule(measureInterval)
	}
	p.mu.Unlock()
	endReads(ended)
}

// measure measures all rates and returns the bodies that were ended for being
// too slow.
func (p *pool) measure(now time.Time, past time.Duration) (ended []*Admission) {
	for a := p.first; a != nil; a = a.next {
		received := a.received.Load()
		n := received - a.measured
		a.measured = received
		a.rate = (a.rate + int64(float64(n)/past.Seconds())) / 2
		l := &a.limits
		if l.MinRate == 0 || a.waiting {
			continue
		}
		// Received bytes move the deadline, but not beyond the grace period: a
		// fast start does not permit a stall.
		a.deadline = a.deadline.Add(time.Duration(float64(n) / float64(l.MinRate) * float64(time.Second)))
		if latest := now.Add(l.Grace); a.deadline.After(latest) {
			a.deadline = latest
		}
		if now.After(a.deadline) && p.markEnded(a, ErrSlow) {
			ended = append(ended, a)
		}
	}
	return ended
}

// markEnded marks a body as ended. It returns false if it was marked before.
func (p *pool) markEnded(a *Admission, why error) bool {
	a.ending.Lock()
	already := a.ended != nil
	if !already {
		a.ended = why
	}
	a.ending.Unlock()
	if already {
		return false
	}
	if errors.Is(why, ErrSlow) {
		p.controller.slow[p.class].Add(1)
	} else {
		p.controller.displaced[p.class].Add(1)
	}
	p.ending += a.bytes
	if a.waiting {
		i := slices.IndexFunc(p.queue, func(w *waiter) bool { return w.admission == a })
		p.endWait(p.queue[i], why)
	}
	return true
}

// endReads ends the reads of marked bodies. The pool's lock is not held,
// because a connection may block.
func endReads(ended []*Admission) {
	for _, a := range ended {
		a.ending.Lock()
		if a.reading {
			a.conn.EndRead()
		}
		a.ending.Unlock()
	}
}

// displace ends the slowest bodies until there will be memory for the waiter.
// It ends no body that is as fast as the waiter, and for a large waiter none
// that is nearly complete.
func (p *pool) displace(w *waiter) []*Admission {
	need := p.shortfall(w.admission, w.size, w.expected, w.large) - p.ending
	now := time.Now()
	if need <= 0 || now.Sub(p.displacedAt) < displaceInterval {
		return nil
	}
	p.displacedAt = now
	a := w.admission
	own := int64(-1) // Its rate is not known yet.
	if a.arriving && now.Sub(a.since) >= minBodyAge {
		own = a.recentRate(now)
	}
	var slow []*Admission
	for other := p.first; other != nil; other = other.next {
		switch {
		case other == a || now.Sub(other.since) < minBodyAge || own >= 0 && other.recentRate(now) >= own || other.Ended() != nil:
		case w.large && (!other.large || other.expected-other.received.Load() <= nearlyDoneFactor*other.recentRate(now)):
		default:
			slow = append(slow, other)
		}
	}
	slices.SortFunc(slow, func(x, y *Admission) int { return cmp.Compare(x.recentRate(now), y.recentRate(now)) })
	// Free more than is needed for the next waiter.
	need = max(need, a.limits.Total/32)
	n := 0
	for ; n < len(slow) && need > 0; n++ {
		need -= slow[n].bytes
		p.markEnded(slow[n], ErrDisplaced)
	}
	return slow[:n]
}
