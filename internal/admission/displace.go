package admission

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

const (
	// measureInterval is how often it is looked at how fast bodies arrive.
	measureInterval = 500 * time.Millisecond
	// minBodyAge is how old a body is before its rate says something.
	minBodyAge = 500 * time.Millisecond
	// displaceInterval is how long nobody is ended after some were.
	displaceInterval = 10 * time.Millisecond
	// assumedRate is how many bytes a second a body is believed to bring that has not
	// begun.
	assumedRate = 256 << 10
	// soon: a large body does not displace another that will be there within this
	// time.
	nearlyDoneFactor = 10
)

// addArriving puts a body among those that arrive.
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

// schedule has tick called.
func (p *pool) schedule(in time.Duration) {
	p.ticking = true
	if p.timer == nil {
		p.timer = time.AfterFunc(in, p.tick)
	} else {
		p.timer.Reset(in)
	}
}

// averageRate is how many bytes a second have come since the body began.
func (a *Admission) averageRate(now time.Time) int64 {
	if !a.arriving {
		return assumedRate
	}
	age := max(now.Sub(a.since), time.Millisecond)
	return int64(float64(a.received.Load()) / age.Seconds())
}

// removeArriving takes it out again.
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

// recentRate is how fast a body arrives of late.
func (a *Admission) recentRate(now time.Time) int64 {
	if now.Sub(a.since) < 2*measureInterval {
		return a.averageRate(now)
	}
	return a.rate
}

// tick looks at how fast bodies arrive, ends those that are slower than they may
// be, and makes room for those that wait. It goes on for as long as there are any.
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

// measure measures all rates, and returns the bodies that were ended for theirs.
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
		// What arrives moves the end on, but never further than the grace: a fast
		// beginning is no licence to stall.
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

// markEnded marks a body as ended; false if it was already.
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

// endReads ends the reads of bodies that were marked. The pool's lock is not held: a
// connection may take its time.
func endReads(ended []*Admission) {
	for _, a := range ended {
		a.ending.Lock()
		if a.reading {
			a.conn.EndRead()
		}
		a.ending.Unlock()
	}
}

// displace ends the slowest bodies until there will be room for the one that waits. It
// ends none that arrives as fast as that one does, and for the sake of a large body
// none that will be there soon.
func (p *pool) displace(w *waiter) []*Admission {
	need := p.shortfall(w.admission, w.size, w.expected, w.large) - p.ending
	now := time.Now()
	if need <= 0 || now.Sub(p.displacedAt) < displaceInterval {
		return nil
	}
	p.displacedAt = now
	a := w.admission
	own := int64(-1) // it has not shown yet how fast it is
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
	// Some more than is needed: who comes next finds room.
	need = max(need, a.limits.Total/32)
	n := 0
	for ; n < len(slow) && need > 0; n++ {
		need -= slow[n].bytes
		p.markEnded(slow[n], ErrDisplaced)
	}
	return slow[:n]
}
