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

// groupCommit makes the events of many callers durable with one sync. Callers push
// their events, in order; one goroutine gathers them into batches, commits those
// and answers. It owns all writing of events, and the store's opening.
type groupCommit struct {
	log      *Log
	pendings sync.Pool // of *pending

	mu          sync.Mutex
	first, last *pending
	events      atomic.Int64  // that wait
	bytes       atomic.Int64  // that they hold in memory
	ready       chan struct{} // there are some

	awaited atomic.Int64 // how many are waited for; 0: none are
	arrived chan struct{}
}

// What one commit gathers at most: more than has a place to append, and no more
// than an engine takes. One event alone may be larger.
const (
	batchEvents = storage.MaxBatchEvents / 2
	batchBytes  = storage.MaxBatchBytes / 2
)

// gatherTime is how long a commit waits at most for those that it expects, and
// gatherMin how many they must be. It waits for no more than gatherEnough: over
// so many, what a commit costs for itself does not matter any more.
const (
	gatherTime   = 2 * time.Millisecond
	gatherMin    = 4
	gatherEnough = admission.Places / 2
)

// anySize is room for any event.
const anySize = 1 << 62

func newGroupCommit(l *Log) *groupCommit {
	return &groupCommit{
		log: l, pendings: sync.Pool{New: newPending}, ready: make(chan struct{}, 1), arrived: make(chan struct{}, 1),
	}
}

func (g *groupCommit) len() int { return int(g.events.Load()) }

// push adds an event, or returns ErrOverloaded.
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

// pop takes the oldest event if it holds no more than room bytes.
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
			for p := g.pop(anySize); p != nil; p = g.pop(anySize) {
				g.commit(b, p)
				l.reopenIfClosed()
			}
		case <-l.trouble:
			l.reopenIfClosed()
		case <-l.stop:
			// Nothing comes any more: Close took the lock.
			for p := g.pop(anySize); p != nil; p = g.pop(anySize) {
				g.commit(b, p)
			}
			return
		}
	}
}

// refuse answers all that wait.
func (g *groupCommit) refuse(err error) {
	for p := g.pop(anySize); p != nil; p = g.pop(anySize) {
		p.done <- outcome{err: err}
	}
}

// gather lets those that are on their way join the batch that begins with first.
// A sync costs the same for one event as for a hundred, and on a fast disk it is
// done before much has come in: committing at once would spend most of the CPU
// on syncing, exactly when there is none to spare.
//
// It first yields while that brings more: goroutines that are about to append
// need only be let run, and where there are none this takes no time. Then it
// waits for as many as were answered or queued when the last commit ended. These
// are the senders that are known to be at it, and when all of them are back
// there is nobody to wait for. A sender alone is never made to wait, nor are a
// few. PostgreSQL's commit_delay with commit_siblings is the same bargain.
func (g *groupCommit) gather(b *batch, first *pending) {
	for n := -1; n != g.len() && g.len() < gatherEnough; {
		n = g.len()
		runtime.Gosched()
	}
	awaited := min(b.expected, gatherEnough) - 1 // first has left the queue
	if b.expected < gatherMin || first.since.Sub(b.ended) > gatherTime || g.len() >= awaited ||
		g.bytes.Load() >= batchBytes {
		return
	}
	select {
	case <-g.arrived: // of an earlier batch
	default:
	}
	g.awaited.Store(int64(awaited))
	defer g.awaited.Store(0)
	if g.len() >= awaited {
		return
	}
	b.timer.Reset(gatherTime)
	defer b.timer.Stop()
	select {
	case <-g.arrived:
	case <-b.timer.C:
	case <-g.log.stop:
	}
}

// commit gathers a batch that begins with first and makes it durable.
func (g *groupCommit) commit(b *batch, first *pending) {
	l := g.log
	b.reset()
	g.gather(b, first)
	store := l.store.Load()
	for p := first; p != nil; {
		if p.event.BodyRef != "" && p.store != store {
			// The store was opened anew since, and has swept what no record names.
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
	// The log's own end is no reason to drop what was taken: no ctx of it here.
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
	written := b.settle(c.Outcomes)
	for _, e := range written {
		e.Body = nil // whoever wants it reads it from the store
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

// signal leaves a token that says that something has changed, if there is none.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// held is what an event holds in memory: its body, unless it was put aside, and
// those of its strings that can be long.
func held(e *event.Event) int64 {
	n := len(e.Body) + len(e.ErrorMessage) + len(e.WorkflowID) + len(e.AgentID) + len(e.Type) + len(e.CorrelationID)
	for _, a := range e.Details.AffectedAgents {
		n += len(a)
	}
	return int64(n)
}
