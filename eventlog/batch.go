package eventlog

import (
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// batch gathers events and resolves the duplicates among them.
type batch struct {
	all    []*pending
	events []*event.Event // those of all that go to the engine
	index  []int          // all[i] is, or is a duplicate of, events[index[i]]
	seen   map[identity]int
	result []outcome
	bytes  int64 // that the events hold in memory

	ended    time.Time // when the batch before was answered
	expected int       // how many were answered then or were waiting already
	timer    *time.Timer
}

// identity is what makes an event unique.
type identity struct {
	workspace, source string
	key, body         event.Digest
}

func newBatch() *batch {
	b := &batch{seen: make(map[identity]int, batchEvents), timer: time.NewTimer(gatherTime)}
	b.timer.Stop()
	return b
}

func (b *batch) reset() {
	clear(b.all) // so that the backing arrays hold on to nothing
	clear(b.events)
	clear(b.seen)
	b.all, b.events, b.index, b.result, b.bytes = b.all[:0], b.events[:0], b.index[:0], b.result[:0], 0
}

func (b *batch) add(p *pending) {
	e := p.event
	id := identity{e.WorkspaceID, e.Source, e.DedupKey, e.BodyDigest}
	i, dup := b.seen[id]
	if !dup {
		i = len(b.events)
		b.seen[id] = i
		b.events = append(b.events, e)
		b.bytes += p.size
	}
	b.all = append(b.all, p)
	b.index = append(b.index, i)
}

// settle works out everyone's result from the engine's outcomes and returns the
// events that were written.
func (b *batch) settle(outcomes []storage.Outcome) []*event.Event {
	for i, p := range b.all {
		o := outcomes[b.index[i]]
		// A duplicate inside the batch answers as if it had come later.
		dup := o.Duplicate || b.events[b.index[i]] != p.event
		b.result = append(b.result, outcome{Result: Result{Seq: o.Seq, Duplicate: dup}})
	}
	written := b.events[:0:0]
	for i, e := range b.events {
		if !outcomes[i].Duplicate {
			written = append(written, e)
		}
	}
	return written
}

func (b *batch) reply() {
	for i, p := range b.all {
		failpoint.Hit("log.reply")
		p.done <- b.result[i]
	}
}

func (b *batch) fail(err error) {
	for _, p := range b.all {
		p.done <- outcome{err: err}
	}
}
