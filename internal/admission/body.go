package admission

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Connection is what a body comes from.
type Connection interface {
	// EndRead makes a read that is under way, and every later one, return at once.
	EndRead()
}

// Admission is what one request was let in with. One goroutine uses it at a time.
// Its zero value holds nothing; it must not be copied.
type Admission struct {
	pool   *pool
	key    Key
	limits Limits
	conn   Connection
	slots  chan struct{} // where it has a place

	// Under the pool's lock.
	share    *share
	bytes    int64
	large    bool
	expected int64 // what the body will take, as far as is known
	next     *Admission
	prev     *Admission
	arriving bool
	waiting  bool      // waits for room, so nothing is read
	since    time.Time // when it began
	measured int64     // received, at the last look
	rate     int64     // bytes a second, averaged over the last looks
	deadline time.Time // when it will have been behind its minimum rate for too long

	received      atomic.Int64
	reservedUntil atomic.Int64 // until when its room is kept free, in Unix nanoseconds
	sinceReserved int64        // bytes read since lively was set

	ending  sync.Mutex
	reading bool  // EndRead may be called
	ended   error // why it was
}

// Begin sets a up for a body that comes over conn. It holds nothing yet.
func (c *Controller) Begin(a *Admission, class Class, key Key, limits Limits, conn Connection) {
	a.pool, a.key, a.limits, a.conn = c.pools[class], key, limits, conn
}

// Bytes is what the body holds.
func (a *Admission) Bytes() int64 { return a.bytes }

// Reserve takes room for a buffer of size bytes beside the one that the body has
// already: while what has arrived is copied, both are there. Settle follows.
// whole is how large the buffer will become, as far as is known. Where there is no
// room it waits, Patience at most; the error is ErrFull, that of ctx, or why the
// body was ended.
func (a *Admission) Reserve(ctx context.Context, size, whole int64) error {
	p := a.pool
	p.mu.Lock()
	p.addBody(a)
	if err := a.Ended(); err != nil {
		p.mu.Unlock()
		return err
	}
	beginner := a.bytes == 0
	large := a.large || whole > LargeBody
	if (!beginner || !p.newBodiesWaiting(large)) && p.shortfall(a, size, whole, large) == 0 {
		p.grant(a, size, whole, large)
		p.mu.Unlock()
		return nil
	}
	w := &waiter{admission: a, size: size, expected: whole, large: large, isNew: beginner, ready: make(chan struct{})}
	if !p.enqueue(w) {
		p.mu.Unlock()
		p.controller.refusals[p.class].Add(1)
		return ErrFull
	}
	ended := p.displace(w)
	p.grantWaiting()
	p.mu.Unlock()
	endReads(ended)
	return p.wait(ctx, w)
}

// Received tells that n more bytes have arrived.
func (a *Admission) Received(n int) {
	a.received.Add(int64(n))
	if a.sinceReserved += int64(n); a.sinceReserved >= reserveBytes {
		a.sinceReserved = 0
		a.reservedUntil.Store(time.Now().Add(reserveTime).UnixNano())
	}
}

// Shrink gives back all but size bytes: those of the buffers that are not the
// body's any more.
func (a *Admission) Shrink(size int64) {
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := a.bytes - size; n > 0 {
		p.free(a, n)
		p.grantWaiting()
	}
}

// Complete says that the body is read: nothing more is kept free for it, and it is
// not ended any more. An error is why it was ended already.
func (a *Admission) Complete() error {
	p := a.pool
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.removeArriving(a)
	p.grantWaiting()
	p.mu.Unlock()
	a.ending.Lock()
	defer a.ending.Unlock()
	a.reading = false
	return a.ended
}

// Ended is why the body was ended before it had arrived: ErrSlow, ErrDisplaced or
// nil.
func (a *Admission) Ended() error {
	a.ending.Lock()
	defer a.ending.Unlock()
	return a.ended
}

// Release gives back everything: the body's bytes and the place among those who
// append. It may be called more than once.
func (a *Admission) Release() {
	if a.slots != nil {
		<-a.slots
		a.slots = nil
	}
	p := a.pool
	if p == nil || a.share == nil {
		return
	}
	_ = a.Complete()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free(a, a.bytes)
	p.removeBody(a)
	p.grantWaiting()
}
