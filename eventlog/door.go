package eventlog

import (
	"context"
	"sync/atomic"
	"time"
)

// doorWidth is how many callers are inside at once: twice what a batch waits
// for, so that one half prepares while the other is committed.
const doorWidth = 2 * gatherEnough

// doorPatience is how long a caller waits to be let in. Refusing at once, as when
// QueueEvents wait already, has everybody come back at once: where senders do not
// care for Retry-After, refusing is then all that there is time for.
const doorPatience = 2 * time.Second

// door lets so many callers at a time prepare and append events. The others wait
// in the order in which they came, with no more done for them than to read and
// authenticate what they sent.
//
// It is there for the committer. Whoever returns from a system call queues for
// the processor behind every goroutine that can run, and the committer returns
// from one with every sync. With thousands of senders at work at once it got five
// turns a second; behind a few hundred it keeps its pace, and what can be taken
// does not depend on how much is offered.
type door struct {
	slots   chan struct{}
	waiting atomic.Int64
	bytes   atomic.Int64 // that those who wait hold
}

func newDoor() door { return door{slots: make(chan struct{}, doorWidth)} }

// Enter waits for a place among those who append, two seconds at most, for an
// event with a body of size bytes. Callers who have work to do before they append
// enter first: what cannot be kept is refused before anything more was spent on
// it. Without an error, Leave has to follow.
func (l *Log) Enter(ctx context.Context, size int) error {
	err := l.admit()
	if err == nil {
		select {
		case l.door.slots <- struct{}{}:
			return nil
		default:
			err = l.awaitDoor(ctx, int64(size))
		}
	}
	if err != nil && ctx.Err() == nil {
		l.opt.Observer.Refused(err)
	}
	return err
}

// Leave gives the place up.
func (l *Log) Leave() { <-l.door.slots }

func (l *Log) awaitDoor(ctx context.Context, size int64) error {
	defer l.door.waiting.Add(-1)
	defer l.door.bytes.Add(-size)
	bytes := l.door.bytes.Add(size)
	if l.door.waiting.Add(1)+int64(len(l.queue)) > int64(cap(l.queue)) || bytes+l.queued.Load() > l.opt.QueueBytes {
		return ErrOverloaded
	}
	patience := time.NewTimer(doorPatience)
	defer patience.Stop()
	select {
	case l.door.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return ErrOverloaded
	case <-l.stop:
		return ErrClosed
	}
}
