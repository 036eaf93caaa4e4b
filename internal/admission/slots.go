package admission

import (
	"context"
	"time"
)

// Defaults of what may wait for a commit, or for a place.
const (
	DefaultQueueEvents = 16384
	DefaultQueueBytes  = 64 << 20
)

// AppendSlots is how many requests prepare and append events at once: twice what a
// commit waits for, so that one half prepares while the other is committed. The
// others wait in the order in which they came.
//
// It is there for the committer. Whoever returns from a system call queues for
// the processor behind every goroutine that can run, and the committer returns
// from one with every sync. With thousands of senders at work at once it got five
// turns a second; behind a few hundred it keeps its pace, and what can be taken
// does not depend on how much is offered.
const AppendSlots = 256

// slotTimeout is how long a request waits for a place. Refusing at once has
// everybody come back at once: where senders do not care for Retry-After, refusing
// is then all that there is time for.
const slotTimeout = 2 * time.Second

// SetQueue bounds what waits for a commit or for a place. What waits already stays.
func (c *Controller) SetQueue(events int, bytes int64) {
	c.maxEvents.Store(int64(events))
	c.maxBytes.Store(bytes)
}

// QueueFull reports whether nothing more may wait.
func (c *Controller) QueueFull() bool {
	return c.queued.Load() >= c.maxEvents.Load() || c.queuedBytes.Load() >= c.maxBytes.Load()
}

// Waiting is how many requests wait for a place.
func (c *Controller) Waiting() int { return int(c.waitingForSlot.Load()) }

// Enqueue counts an event of that many bytes among those that wait for a commit, or
// returns ErrOverloaded. One alone may be larger than all that may wait.
func (c *Controller) Enqueue(size int64) error {
	n, bytes := c.queued.Add(1), c.queuedBytes.Add(size)
	if n > c.maxEvents.Load() || bytes > c.maxBytes.Load() && bytes > size {
		c.Dequeue(size)
		return ErrOverloaded
	}
	return nil
}

// Dequeue is the opposite of Enqueue.
func (c *Controller) Dequeue(size int64) {
	c.queued.Add(-1)
	c.queuedBytes.Add(-size)
}

// AcquireSlot waits for a place among those who append, two seconds at most, for an event
// of size bytes. The error is ErrOverloaded, that of ctx, or context.Canceled once
// stop is closed. Release gives the place up.
func (a *Admission) AcquireSlot(ctx context.Context, c *Controller, size int64, stop <-chan struct{}) error {
	if c.QueueFull() {
		return ErrOverloaded
	}
	select {
	case c.slots <- struct{}{}:
	default:
		if err := c.waitForSlot(ctx, size, stop); err != nil {
			return err
		}
	}
	a.slots = c.slots
	return nil
}

func (c *Controller) waitForSlot(ctx context.Context, size int64, stop <-chan struct{}) error {
	defer c.waitingForSlot.Add(-1)
	defer c.waitingBytes.Add(-size)
	bytes := c.waitingBytes.Add(size)
	if c.waitingForSlot.Add(1)+c.queued.Load() > c.maxEvents.Load() || bytes+c.queuedBytes.Load() > c.maxBytes.Load() {
		return ErrOverloaded
	}
	timeout := time.NewTimer(slotTimeout)
	defer timeout.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return ErrOverloaded
	case <-stop:
		return context.Canceled
	}
}
