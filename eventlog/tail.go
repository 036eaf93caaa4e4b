package eventlog

import (
	"slices"
	"sync"

	"github.com/osa-edge/osa-gateway/event"
)

// tailEvents is how many recent events stay in memory for those who follow the
// log closely: the projector and live streams.
const tailEvents = 8192

// tail holds the newest events, without bodies, so that followers do not go to
// the engine for what was committed a moment ago.
type tail struct {
	mu     sync.RWMutex
	ring   []*event.Event // capacity tailEvents once full
	start  int            // index of the oldest
	before uint64         // every event after this sequence number is in the ring
	last   uint64         // it reaches up to here
	first  uint64         // the log's floor: what is before does not exist
}

// reset empties the tail; the log stands at last.
func (t *tail) reset(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring, t.start, t.before, t.last = nil, 0, last, last
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
		if len(t.ring) < tailEvents {
			t.ring = append(t.ring, e)
		} else {
			t.before = t.ring[t.start].Seq
			t.ring[t.start] = e
			t.start = (t.start + 1) % tailEvents
		}
		t.last = e.Seq
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
	at := func(i int) *event.Event { return t.ring[(t.start+i)%len(t.ring)] }
	// Sequence numbers ascend around the ring.
	lo, hi := 0, len(t.ring)
	for lo < hi {
		if mid := (lo + hi) / 2; at(mid).Seq > after {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	n := min(limit, len(t.ring)-lo)
	events = make([]*event.Event, 0, n)
	for i := lo; i < lo+n; i++ {
		events = append(events, at(i))
	}
	return slices.Clip(events), true
}
