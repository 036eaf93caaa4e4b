// Package admission limits what the process accepts: the memory of request
// bodies, and the events that are about to be appended to the log. It knows
// nothing of HTTP or of events.
//
// Each request has one Admission. It reserves memory as its body grows,
// acquires a slot to append the event, and is released once.
//
// Bodies from unknown senders and bodies from authenticated callers have
// separate pools. Within a pool each sender may hold a multiple of what is
// free. This is the dynamic threshold of shared-memory switches (Choudhury and
// Hahne, 1998). When a pool is full, the slowest bodies are ended first.
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
	// ErrFull means that there is no memory for a body.
	ErrFull = errors.New("too many request bodies are held at once")
	// ErrSlow means that the body arrives more slowly than its minimum rate.
	ErrSlow = errors.New("the request body arrives too slowly")
	// ErrDisplaced means that the body was one of the slowest when others needed
	// its memory.
	ErrDisplaced = errors.New("the request body gave way to faster ones")
	// ErrOverloaded means that too many events are waiting.
	ErrOverloaded = errors.New("event log is overloaded")
)

// Class says what is known of a body's sender when it is read.
type Class int

// The classes, each with a pool of its own.
const (
	Unverified    Class = iota // Nothing: the body is needed to verify the sender.
	Authenticated              // The sender is known.
	classes
)

// String returns the value of the metrics' label class.
func (c Class) String() string {
	return [classes]string{"unverified", "authenticated"}[c]
}

// Key identifies the sender whose share a body counts against.
type Key struct {
	Addr         netip.Addr
	Method, Name string
}

// AddrKey returns the key of a client's address. IPv6 addresses of the same /64
// have the same key.
func AddrKey(addr netip.Addr) Key { return Key{Addr: network.ClientOf(addr)} }

// Limits are the limits of the pool that a body counts against. They come with
// each body, so that a pool outlives a configuration.
type Limits struct {
	// Total limits all bodies in bytes, and Large the large ones among them.
	Total, Large int64
	// MinRate is the minimum rate in bytes per second. 0 means none.
	MinRate int64
	// Grace is how long a body may be below its MinRate.
	Grace time.Duration
}

// LimitsOf returns the limits of a class if all bodies together may take total
// bytes. Three quarters are for unverified bodies and one quarter for
// authenticated ones, but each pool has room for one body of the largest size.
// Three quarters of a pool are for large bodies, or as much as the largest body
// takes.
func LimitsOf(class Class, total, largest int64) Limits {
	if class == Authenticated {
		total /= 4
	} else {
		total = total / 4 * 3
	}
	total = max(total, largest)
	return Limits{Total: total, Large: min(total, max(total/4*3, largest))}
}

// Controller counts what the process has accepted. There is one per process. It
// outlives configurations and logs.
type Controller struct {
	pools [classes]*pool
	slots chan struct{}

	maxEvents, maxBytes          atomic.Int64 // of what waits
	queued, queuedBytes          atomic.Int64 // for a commit
	waitingForSlot, waitingBytes atomic.Int64 // for a place
	slow, displaced, refusals    [classes]atomic.Int64
}

// NewController returns a controller that has accepted nothing.
func NewController() *Controller {
	c := &Controller{slots: make(chan struct{}, AppendSlots)}
	for class := range classes {
		c.pools[class] = newPool(c, class)
	}
	c.SetQueue(DefaultQueueEvents, DefaultQueueBytes)
	return c
}

// Usage describes the bodies of a class.
type Usage struct {
	// Held is the memory of all bodies in bytes, and Large that of the large
	// ones.
	Held, Large int64
	// Arriving bodies are being read. Waiting ones wait for memory.
	Arriving, Waiting int
	// Slow, Displaced and Full count the bodies that were ended or refused.
	Slow, Displaced, Full int64
}

// Usage returns the usage of a class.
func (c *Controller) Usage(class Class) Usage {
	p := c.pools[class]
	p.mu.Lock()
	defer p.mu.Unlock()
	return Usage{
		Held: p.held, Large: p.large, Arriving: p.arriving, Waiting: len(p.queue),
		Slow: c.slow[class].Load(), Displaced: c.displaced[class].Load(), Full: c.refusals[class].Load(),
	}
}
