package eventlog

import (
	"context"
	"sync/atomic"
	"time"
)

// admitted is how many callers are inside at once: twice what a batch waits for,
// so that one half prepares while the other is committed.
const admitted = 2 * gatherEnough

// admissionTimeout is how long a caller waits to be admitted. Refusing at once, as
// when QueueEvents wait already, has everybody come back at once: where senders do
// not care for Retry-After, refusing is then all that there is time for.
const admissionTimeout = 2 * time.Second

// admission lets so many callers at a time prepare and append events. The others
// wait in the order in which they came, with no more done for them than to read
// and authenticate what they sent.
//
// It is there for the committer. Whoever returns from a system call queues for
// the processor behind every goroutine that can run, and the committer returns
// from one with every sync. With thousands of senders at work at once it got five
// turns a second; behind a few hundred it keeps its pace, and what can be taken
// does not depend on how much is offered.
type admission struct {
	slots   chan struct{}
	waiting atomic.Int64
	bytes   atomic.Int64 // that those who wait hold
}

func newAdmission() admission { return admission{slots: make(chan struct{}, admitted)} }

// Acquire waits for a place among those who append, two seconds at most, for an
// event with a body of size bytes. Callers who have work to do before they append
// acquire first: what cannot be kept is refused before anything more was spent on
// it. Without an error, Release has to follow.
func (l *Log) Acquire(ctx context.Context, size int) error {
	err := l.admit()
	if err == nil {
		select {
		case l.admission.slots <- struct{}{}:
			return nil
		default:
			err = l.awaitAdmission(ctx, int64(size))
		}
	}
	if err != nil && ctx.Err() == nil {
		l.opt.Observer.Refused(err)
	}
	return err
}

// Release gives the place up.
func (l *Log) Release() { <-l.admission.slots }

func (l *Log) awaitAdmission(ctx context.Context, size int64) error {
	a, s := &l.admission, l.settings.Load()
	defer a.waiting.Add(-1)
	defer a.bytes.Add(-size)
	bytes := a.bytes.Add(size)
	if a.waiting.Add(1)+int64(l.queue.len()) > int64(s.QueueEvents) || bytes+l.queue.bytes.Load() > s.QueueBytes {
		return ErrOverloaded
	}
	timeout := time.NewTimer(admissionTimeout)
	defer timeout.Stop()
	select {
	case a.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return ErrOverloaded
	case <-l.stop:
		return ErrClosed
	}
}
