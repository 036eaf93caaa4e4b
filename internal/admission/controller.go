// Package admission decides what the process takes in: request bodies while they
// are read and held, and events on their way into the log.
//
// A request asks with one Admission, which grows with its body, takes a place
// among those who append, and is released once.
//
// Bodies whose sender is not known yet, and bodies of callers who are, have a pool
// each. Within a pool every sender has a share: with others around, one has as
// much as it leaves free. This is the dynamic threshold of switches with shared
// memory (Choudhury and Hahne, 1998). Where a pool has no room, the bodies that
// arrive slowest are ended first.
package admission

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/internal/network"
)

// Errors of an admission.
var (
	// ErrFull: there is no room for a body.
	ErrFull = errors.New("too many request bodies are held at once")
	// ErrSlow: the body arrives more slowly than its minimum rate.
	ErrSlow = errors.New("the request body arrives too slowly")
	// ErrDisplaced: the body was among the slowest when others needed its room.
	ErrDisplaced = errors.New("the request body gave way to faster ones")
	// ErrOverloaded: too many events wait already.
	ErrOverloaded = errors.New("event log is overloaded")
)

// Class is what is known of a body's sender when it is read.
type Class int

// The classes, each with a pool of its own.
const (
	Unverified    Class = iota // nothing: the body is needed to tell
	Authenticated              // who it is
	classes
)

// String returns the value of the metrics' label class.
func (c Class) String() string {
	return [classes]string{"unverified", "authenticated"}[c]
}

// Key names the sender whose share a body counts against.
type Key struct {
	Addr         netip.Addr
	Method, Name string
}

// AddrKey is the key of a client's address: IPv6 addresses count by their /64.
func AddrKey(addr netip.Addr) Key { return Key{Addr: network.ClientOf(addr)} }

// Limits of the pool that a body counts against. Every body brings its own, so
// that a pool outlives configurations.
type Limits struct {
	// Total is for all bodies, in bytes, and Large for the large ones among them.
	Total, Large int64
	// MinRate is how many bytes a second have to arrive. 0: any.
	MinRate int64
	// Grace is how long a body may be behind its MinRate.
	Grace time.Duration
}

// LimitsOf are the limits of a class where all bodies together may take total
// bytes: three quarters are for unverified bodies and one for authenticated ones,
// but one body of the largest size has room in each. Three quarters of a pool are
// for large bodies, or as much as the largest one takes.
func LimitsOf(class Class, total, largest int64) Limits {
	if class == Authenticated {
		total /= 4
	} else {
		total = total / 4 * 3
	}
	total = max(total, largest)
	return Limits{Total: total, Large: min(total, max(total/4*3, largest))}
}

// Controller is what the process has let in. There is one in a process, and it
// outlives configurations and logs.
type Controller struct {
	pools [classes]*pool
	slots chan struct{}

	maxEvents, maxBytes          atomic.Int64 // of what waits
	queued, queuedBytes          atomic.Int64 // for a commit
	waitingForSlot, waitingBytes atomic.Int64 // for a place
	slow, displaced, refusals    [classes]atomic.Int64
}

// NewController returns one that has let in nothing.
func NewController() *Controller {
	c := &Controller{slots: make(chan struct{}, AppendSlots)}
	for class := range classes {
		c.pools[class] = newPool(c, class)
	}
	c.SetQueue(DefaultQueueEvents, DefaultQueueBytes)
	return c
}

// Usage is what a class holds, and what became of its bodies.
type Usage struct {
	// Held is in bytes, and Large what of it large bodies hold.
	Held, Large int64
	// Arriving bodies are being read, Waiting ones wait for room.
	Arriving, Waiting int
	// Slow, Displaced and Full count what was ended or refused.
	Slow, Displaced, Full int64
}

// Usage of a class.
func (c *Controller) Usage(class Class) Usage {
	p := c.pools[class]
	p.mu.Lock()
	defer p.mu.Unlock()
	return Usage{
		Held: p.held, Large: p.large, Arriving: p.arriving, Waiting: len(p.queue),
		Slow: c.slow[class].Load(), Displaced: c.displaced[class].Load(), Full: c.refusals[class].Load(),
	}
}
