package admission

import (
	"context"
	"time"
)

// Defaults of how many events may wait for a slot or for a commit.
const (
	DefaultQueueEvents = 16384
	DefaultQueueBytes  = 64 << 20
)

// AppendSlots is how many requests may prepare and append events at the same
// time: twice what a commit waits for, so that one half prepares while the
// other half is committed. Other requests wait in the order of their arrival.
//
// The limit protects the committer. A goroutine that returns from a system call
// queues behind all runnable goroutines, and the committer does so after every
// sync. With thousands of concurrent senders it ran five times a second. Behind
// a few hundred it keeps its rate, and throughput does not depend on the load.
const AppendSlots = 256

// slotTimeout is how long a request waits for a slot. A request is not refused
// at once, because its sender would come back at once: with senders that ignore
// Retry-After the process would do nothing but refuse.
const slotTimeout = 2 * time.Second

// SetQueue limits the events that wait for a slot or for a commit. Events that
// are already waiting stay.
func (c *Controller) SetQueue(events int, bytes int64) {
	c.maxEvents.Store(int64(events))
	c.maxBytes.Store(bytes)
}

// QueueFull reports whether no further event may wait.
func (c *Controller) QueueFull() bool {
	return c.queued.Load() >= c.maxEvents.Load() || c.queuedBytes.Load() >= c.maxBytes.Load()
}

// Waiting returns how many requests wait for a slot.
func (c *Controller) Waiting() int { return int(c.waitingForSlot.Load()) }

// Enqueue counts an event that waits for a commit, or returns ErrOverloaded. A
// single event may be larger than the limit.
func (c *Controller) Enqueue(size int64) error {
	n, bytes := c.queued.Add(1), c.queuedBytes.Add(size)
	if n > c.maxEvents.Load() || bytes > c.maxBytes.Load() && bytes > size {
		c.Dequeue(size)
		return ErrOverloaded
	}
	return nil
}

// Dequeue undoes Enqueue.
func (c *Controller) Dequeue(size int64) {
	c.queued.Add(-1)
	c.queuedBytes.Add(-size)
}

// AcquireSlot waits up to two seconds for a slot to append an event of size
// bytes. It returns ErrOverloaded, the error of ctx, or context.Canceled when
// stop is closed. Release releases the slot.
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
