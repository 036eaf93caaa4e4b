package eventlog

import (
	"cmp"
	"slices"
	"sync"

	"github.com/osa-edge/osa-gateway/event"
)

// tailEvents and tailBytes bound the recent events that stay in memory for those
// who follow the log closely: the projector and live streams.
const (
	tailEvents = 8192
	tailBytes  = 16 << 20
	// eventBytes is what an event takes beside its long strings.
	eventBytes = 1 << 10
)

// tail holds the newest events, without bodies, so that followers do not go to
// the engine for what was committed a moment ago.
type tail struct {
	mu     sync.RWMutex
	events []*event.Event // ascending
	bytes  int64          // that they take
	before uint64         // every event after this sequence number is among them
	last   uint64         // it reaches up to here
	first  uint64         // the log's floor: what is before does not exist
}

// reset empties the tail; the log stands at last.
func (t *tail) reset(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events, t.bytes, t.before, t.last = nil, 0, last, last
}

// end is how far the tail reaches.
func (t *tail) end() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// extend says that there is nothing more up to through.
func (t *tail) extend(through uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, through)
}

// prune hides what is before first.
func (t *tail) prune(first uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = max(t.first, first)
}

// append takes events that have let go of their bodies.
func (t *tail) append(events []*event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		t.events = append(t.events, e)
		t.bytes += held(e) + eventBytes
		t.last = e.Seq
	}
	for len(t.events) > tailEvents || t.bytes > tailBytes && len(t.events) > 1 {
		oldest := t.events[0]
		t.before = oldest.Seq
		t.bytes -= held(oldest) + eventBytes
		t.events[0] = nil
		t.events = t.events[1:]
	}
}

// read returns up to limit events after the given one; ok is false if the tail
// does not reach back that far.
func (t *tail) read(after uint64, limit int) (events []*event.Event, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after < t.before {
		return nil, false
	}
	if t.first > 0 {
		after = max(after, t.first-1)
	}
	if after >= t.last {
		return nil, true
	}
	lo, _ := slices.BinarySearchFunc(t.events, after+1, func(e *event.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return slices.Clone(t.events[lo:min(lo+limit, len(t.events))]), true
}
