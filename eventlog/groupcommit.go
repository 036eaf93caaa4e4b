package eventlog

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// groupCommit makes the events of many callers durable with one sync. Callers
// push their events onto a queue. One goroutine takes batches from it, commits
// them and answers the callers. It does all writing of events, and opens the
// store.
type groupCommit struct {
	log      *Log
	pendings sync.Pool // of *pending

	mu          sync.Mutex
	first, last *pending
	events      atomic.Int64  // Events in the queue.
	bytes       atomic.Int64  // Their size in memory.
	ready       chan struct{} // Signals that the queue is not empty.

	awaited atomic.Int64 // How many events the committer waits for. 0: it does not wait.
	arrived chan struct{}
}

// Limits of one commit. They are larger than the number of append slots and
// smaller than what an engine accepts. A single event may be larger.
const (
	batchEvents = storage.MaxBatchEvents / 2
	batchBytes  = storage.MaxBatchBytes / 2
)

// commitDelay bounds how long a commit waits for the events that it expects. It
// waits only if it expects at least commitSiblings, and for no more than
// maxSiblings: beyond that the fixed cost of a commit does not matter.
const (
	commitDelay    = 2 * time.Millisecond
	commitSiblings = 4
	maxSiblings    = admission.AppendSlots / 2
)

// noLimit is a limit that every event is within.
const noLimit = 1 << 62

func newGroupCommit(l *Log) *groupCommit {
	return &groupCommit{
		log: l, pendings: sync.Pool{New: newPending}, ready: make(chan struct{}, 1), arrived: make(chan struct{}, 1),
	}
}

func (g *groupCommit) len() int { return int(g.events.Load()) }

// push adds an event to the queue. It returns ErrOverloaded if the queue is
// full.
func (g *groupCommit) push(p *pending) error {
	if err := g.log.opt.Admission.Enqueue(p.size); err != nil {
		return err
	}
	g.mu.Lock()
	p.next = nil
	if g.last == nil {
		g.first = p
	} else {
		g.last.next = p
	}
	g.last = p
	g.bytes.Add(p.size)
	n := g.events.Add(1)
	g.mu.Unlock()

	if n == 1 {
		signal(g.ready)
	}
	if awaited := g.awaited.Load(); awaited > 0 && n >= awaited {
		signal(g.arrived)
	}
	return nil
}

// pop takes the oldest event if its size is at most room bytes.
func (g *groupCommit) pop(room int64) *pending {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.first
	if p == nil || p.size > room {
		return nil
	}
	if g.first = p.next; g.first == nil {
		g.last = nil
	}
	p.next = nil
	g.events.Add(-1)
	g.bytes.Add(-p.size)
	g.log.opt.Admission.Dequeue(p.size)
	return p
}

// run commits until the log is closed.
func (g *groupCommit) run() {
	l := g.log
	defer l.finished.Done()
	b := newBatch()
	for {
		select {
		case <-g.ready:
			for p := g.pop(noLimit); p != nil; p = g.pop(noLimit) {
				g.commit(b, p)
				l.reopenIfClosed()
			}
		case <-l.storeClosed:
			l.reopenIfClosed()
		case <-l.stop:
			// The queue stays empty, because Close has taken the lock.
			for p := g.pop(noLimit); p != nil; p = g.pop(noLimit) {
				g.commit(b, p)
			}
			return
		}
	}
}

// refuse answers all queued events with err.
func (g *groupCommit) refuse(err error) {
	for p := g.pop(noLimit); p != nil; p = g.pop(noLimit) {
		p.done <- outcome{err: err}
	}
}

// waitForSiblings lets events that are about to be appended join the batch that
// begins with first. A sync costs the same for one event as for a hundred. On a
// fast disk it ends before many events have arrived, and committing at once
// would spend most of the CPU on syncs.
//
// It first yields as long as that brings events: goroutines that are about to
// append need only be scheduled. Then it waits for as many events as were
// answered or queued when the last commit ended, because those senders are
// known to be active. A single sender never waits, and neither do a few.
// PostgreSQL's commit_delay and commit_siblings work the same way.
func (g *groupCommit) waitForSiblings(b *batch, first *pending) {
	for n := -1; n != g.len() && g.len() < maxSiblings; {
		n = g.len()
		runtime.Gosched()
	}
	awaited := min(b.expected, maxSiblings) - 1 // Without first, which has left the queue.
	if b.expected < commitSiblings || first.since.Sub(b.ended) > commitDelay || g.len() >= awaited ||
		g.bytes.Load() >= batchBytes {
		return
	}
	select {
	case <-g.arrived: // A signal of an earlier batch.
	default:
	}
	g.awaited.Store(int64(awaited))
	defer g.awaited.Store(0)
	if g.len() >= awaited {
		return
	}
	b.timer.Reset(commitDelay)
	defer b.timer.Stop()
	select {
	case <-g.arrived:
	case <-b.timer.C:
	case <-g.log.stop:
	}
}

// commit completes a batch that begins with first and makes it durable.
func (g *groupCommit) commit(b *batch, first *pending) {
	l := g.log
	b.reset()
	g.waitForSiblings(b, first)
	store := l.store.Load()
	for p := first; p != nil; {
		if p.event.BodyRef != "" && p.handle != store {
			// The store was reopened since. The open deleted bodies that no record
			// refers to.
			p.done <- outcome{err: ErrUnavailable}
		} else {
			b.add(p)
		}
		p = nil
		if len(b.all) < batchEvents && b.bytes < batchBytes {
			p = g.pop(storage.MaxBatchBytes - b.bytes)
		}
	}
	if len(b.all) == 0 {
		return
	}
	start := time.Now()
	logged := l.clock.now()
	for _, e := range b.events {
		e.ProcessingTime = start.Sub(e.ReceivedAt)
		e.LoggedAt = logged
	}
	if store == nil {
		b.fail(ErrUnavailable)
		return
	}
	// Accepted events are committed even if the log is closing, so ctx is not
	// used here.
	l.feed.committing.Store(true)
	c, err := store.CommitBatch(context.Background(), b.events)
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrNoSpace), errors.Is(err, storage.ErrBusy):
		l.feed.committing.Store(false)
		b.fail(err)
		return
	case errors.Is(err, storage.ErrClosed):
		l.feed.committing.Store(false)
		b.fail(ErrUnavailable)
		l.reopenIfClosed()
		return
	default:
		l.feed.committing.Store(false)
		l.log.Error("commit failed; its outcome is unknown, reopening the store", zap.Int("events", len(b.events)), zap.Error(err))
		b.fail(ErrOutcomeUnknown)
		l.reopen()
		return
	}
	failpoint.Hit("log.committed")
	written := b.resolve(c.Outcomes)
	for _, e := range written {
		e.Body = nil // Readers read the body from the store.
	}
	l.feed.committed(store, c.Before, written)
	for _, e := range written {
		if e.PayloadMismatch {
			l.opt.Observer.Mismatched()
		}
	}
	l.opt.Observer.Committed(len(written), len(b.all)-len(written), start.Sub(first.since), time.Since(start),
		g.len()+l.opt.Admission.Waiting())
	b.reply()
	b.ended, b.expected = time.Now(), len(b.all)+g.len()
}

// signal sends a token to ch unless one is waiting already.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// memorySize returns the size of an event in memory: its body, unless that was
// put aside, and those strings that can be long.
func memorySize(e *event.Event) int64 {
	n := len(e.Body) + len(e.ErrorMessage) + len(e.WorkflowID) + len(e.AgentID) + len(e.Type) + len(e.CorrelationID)
	for _, a := range e.Details.AffectedAgents {
		n += len(a)
	}
	return int64(n)
}
