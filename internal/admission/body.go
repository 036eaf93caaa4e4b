package admission

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Connection is the connection that a body arrives on.
type Connection interface {
	// EndRead makes the current read and every later one return at once.
	EndRead()
}

// Admission is what one request holds: memory for its body, and a slot to
// append its event. It is used by one goroutine at a time. The zero value holds
// nothing. It must not be copied.
type Admission struct {
	pool   *pool
	key    Key
	limits Limits
	conn   Connection
	slots  chan struct{} // The channel in which it holds a slot.

	// Guarded by the pool's lock.
	share    *share
	bytes    int64
	large    bool
	expected int64 // The expected size of the body, if known.
	next     *Admission
	prev     *Admission
	arriving bool
	waiting  bool      // Waits for memory, so nothing is read.
	since    time.Time // When the body began.
	measured int64     // Bytes received at the last measurement.
	rate     int64     // Average bytes per second of the last measurements.
	// When the body will have been below its minimum rate for too long.
	deadline time.Time

	received      atomic.Int64
	reservedUntil atomic.Int64 // Until when memory is kept free for it, in Unix nanoseconds.
	sinceReserved int64        // Bytes read since reservedUntil was set.

	ending  sync.Mutex
	reading bool  // EndRead may be called.
	ended   error // Why the body was ended.
}

// Begin prepares a for a body that arrives on conn. It holds nothing yet.
func (c *Controller) Begin(a *Admission, class Class, key Key, limits Limits, conn Connection) {
	a.pool, a.key, a.limits, a.conn = c.pools[class], key, limits, conn
}

// Bytes returns how much memory the body holds.
func (a *Admission) Bytes() int64 { return a.bytes }

// Reserve acquires memory for a buffer of size bytes in addition to the current
// one: both exist while the data is copied. Shrink releases the old one.
// expected is the final size of the buffer, if known. If there is no memory,
// Reserve waits up to MaxWait. It returns ErrFull, the error of ctx, or the
// reason why the body was ended.
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

// Received records that n more bytes have arrived.
func (a *Admission) Received(n int) {
	a.received.Add(int64(n))
	if a.sinceReserved += int64(n); a.sinceReserved >= reserveBytes {
		a.sinceReserved = 0
		a.reservedUntil.Store(time.Now().Add(reserveTime).UnixNano())
	}
}

// Shrink releases all memory but size bytes.
func (a *Admission) Shrink(size int64) {
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := a.bytes - size; n > 0 {
		p.free(a, n)
		p.grantWaiting()
	}
}

// Complete records that the body has arrived: no memory is reserved for it, and
// it cannot be ended. An error is the reason why it was ended before.
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

// Ended returns why the body was ended before it had arrived: ErrSlow,
// ErrDisplaced or nil.
func (a *Admission) Ended() error {
	a.ending.Lock()
	defer a.ending.Unlock()
	return a.ended
}

// Release releases the memory and the slot. It may be called more than once.
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
