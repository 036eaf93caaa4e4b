package eventlog

import (
	"cmp"
	"slices"
	"sync"

	"github.com/osa-edge/osa-gateway/event"
)

// Limits of the recent events that are kept in memory for the projector and
// live streams.
const (
	tailEvents = 8192
	tailBytes  = 16 << 20
	// eventOverhead is the size of an event without its long strings.
	eventOverhead = 1 << 10
)

// tail holds the newest events, without bodies, so that readers close to the
// head do not read from the engine.
type tail struct {
	mu     sync.RWMutex
	events []*event.Event // ascending
	bytes  int64          // Their size in memory.
	after  uint64         // Every event after this sequence number is in events.
	last   uint64         // The last sequence number that the tail covers.
	first  uint64         // The floor of the log. Earlier events do not exist.
}

// reset empties the tail. The end of the log is last.
func (t *tail) reset(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events, t.bytes, t.after, t.last = nil, 0, last, last
}

// end returns the last sequence number that the tail covers.
func (t *tail) end() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// extend records that there are no more events up to through.
func (t *tail) extend(through uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, through)
}

// prune hides events before first.
func (t *tail) prune(first uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = max(t.first, first)
}

// append adds events whose bodies were released.
func (t *tail) append(events []*event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		t.events = append(t.events, e)
		t.bytes += memorySize(e) + eventOverhead
		t.last = e.Seq
	}
	for len(t.events) > tailEvents || t.bytes > tailBytes && len(t.events) > 1 {
		oldest := t.events[0]
		t.after = oldest.Seq
		t.bytes -= memorySize(oldest) + eventOverhead
		t.events[0] = nil
		t.events = t.events[1:]
	}
}

// read returns up to limit events after the given one. ok is false if the tail
// does not reach back that far.
func (t *tail) read(after uint64, limit int) (events []*event.Event, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after < t.after {
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
