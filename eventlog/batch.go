package eventlog

import (
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// batch collects events for one commit and resolves the duplicates among them.
type batch struct {
	all    []*pending
	events []*event.Event // The events of all that are passed to the engine.
	index  []int          // all[i] is events[index[i]] or a duplicate of it.
	seen   map[identity]int
	result []outcome
	bytes  int64 // The size of the events in memory.

	ended    time.Time // When the previous batch was answered.
	expected int       // How many events were answered or queued at that time.
	timer    *time.Timer
}

// identity is what makes an event unique.
type identity struct {
	workspace, source string
	key, body         event.Digest
}

func newBatch() *batch {
	b := &batch{seen: make(map[identity]int, batchEvents), timer: time.NewTimer(commitDelay)}
	b.timer.Stop()
	return b
}

func (b *batch) reset() {
	clear(b.all) // Clear the backing arrays, so that the events can be collected.
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

// resolve computes the result of each event from the engine's outcomes, and
// returns the events that were written.
func (b *batch) resolve(outcomes []storage.Outcome) []*event.Event {
	for i, p := range b.all {
		o := outcomes[b.index[i]]
		// A duplicate within the batch is answered as if it had come later.
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
