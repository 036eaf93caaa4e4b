package soak

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// ledger is what the log holds, read page by page through the list of events, and
// what was acknowledged. Everybody is compared with it.
type ledger struct {
	g     *gateway.Gateway
	wrong *complaints

	mu    sync.Mutex
	base  uint64 // the log's head before the soak
	head  uint64 // everything up to it was read
	recs  []rec  // of base+1 and on; there may be holes
	names map[string]uint8

	// Hashes of events that only one side knows yet.
	acked, listed map[uint64]string
	matched       int
}

// rec is what filters look at.
type rec struct {
	there       bool
	agent, kind uint8
}

func newLedger(g *gateway.Gateway, head uint64, wrong *complaints) *ledger {
	return &ledger{
		g: g, wrong: wrong, base: head, head: head, names: map[string]uint8{"": 0},
		acked: make(map[uint64]string), listed: make(map[uint64]string),
	}
}

// number stands for a name. The mutex is held.
func (b *ledger) number(name string) uint8 {
	n, ok := b.names[name]
	if !ok {
		n = uint8(len(b.names))
		b.names[name] = n
	}
	return n
}

// acknowledge takes down what a sender was told.
func (b *ledger) acknowledge(seq uint64, hash string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other, ok := b.acked[seq]; ok {
		b.wrong.add("doubled", "evt_%d was given to %s and to %s", seq, other, hash)
	}
	b.acked[seq] = hash
	b.match(seq)
}

// match forgets what both sides know. The mutex is held.
func (b *ledger) match(seq uint64) {
	acked, ok := b.acked[seq]
	listed, there := b.listed[seq]
	if !ok || !there {
		return
	}
	if acked != listed {
		b.wrong.add("doubled", "evt_%d was acknowledged for %s and is %s", seq, acked, listed)
	}
	delete(b.acked, seq)
	delete(b.listed, seq)
	b.matched++
}

// follow reads the log until ctx ends, and then tells each time to whoever wants
// to compare.
func (b *ledger) follow(ctx context.Context, each time.Duration, compare func()) {
	for ctx.Err() == nil {
		more, err := b.read()
		if err != nil {
			b.wrong.add("lists", "reading the log: %v", err)
		}
		compare()
		if !more {
			pause(ctx, each)
		}
	}
}

// read takes the next page.
func (b *ledger) read() (more bool, err error) {
	b.mu.Lock()
	head := b.head
	b.mu.Unlock()
	p, err := b.g.ListPage(url.Values{
		"order": {"asc"}, "limit": {"1000"}, "source": {"opal,gateway"},
		"cursor": {event.Cursor{Seq: head, Ascending: true}.String()},
	})
	if err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range p.Events {
		b.add(&p.Events[i])
	}
	return p.NextCursor != nil, nil
}

// add takes an event of the log. The mutex is held.
func (b *ledger) add(r *gateway.Record) {
	if r.Seq <= b.head {
		b.wrong.add("disorder", "evt_%d is listed after evt_%d", r.Seq, b.head)
		return
	}
	b.head = r.Seq
	for uint64(len(b.recs)) < r.Seq-b.base {
		b.recs = append(b.recs, rec{})
	}
	b.recs[r.Seq-b.base-1] = rec{
		there: true, agent: b.number(strings.ToLower(deref(r.AgentID))), kind: b.number(deref(r.EventType)),
	}
	// What Force Sync and the simulator cause has its correlation id.
	if r.Source == "opal" && r.CorrelationID == nil {
		b.listed[r.Seq] = r.DedupHash[:16]
		b.match(r.Seq)
	}
	if r.PayloadMismatch {
		b.wrong.add("doubled", "evt_%d is marked as a mismatch", r.Seq)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// close says what one side alone knows. Nothing may be under way.
func (b *ledger) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq, h := range b.acked {
		b.wrong.add("lost", "evt_%d (%s) was acknowledged and is not in the log", seq, h)
	}
	for seq, h := range b.listed {
		b.wrong.add("doubled", "evt_%d (%s) is in the log and was never acknowledged", seq, h)
	}
}

// filter of a subscriber.
type filter struct{ agent, kind string }

func (f filter) query() url.Values {
	q := url.Values{}
	if f.agent != "" {
		q.Set("agent_id", f.agent)
	}
	if f.kind != "" {
		q.Set("event_type", f.kind)
	}
	return q
}

func (f filter) String() string { return fmt.Sprintf("agent %q, type %q", f.agent, f.kind) }

// compare holds what a subscriber has got against the log.
func (b *ledger) compare(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	agent, kind := b.number(s.filter.agent), b.number(s.filter.kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	for s.checked < min(b.head, s.last) {
		s.checked++
		if len(got) > 0 && got[0].gap && s.checked > got[0].after {
			if got[0].seq > b.head {
				s.checked--
				break
			}
			got[0].skipped -= b.countMatching(agent, kind, s.checked, got[0].seq)
			if got[0].skipped != 0 {
				b.wrong.add("gaps", "%s: the gap from evt_%d to evt_%d is wrong by %d", s, got[0].after, got[0].seq, got[0].skipped)
			}
			s.checked = got[0].seq
			got = got[1:]
			continue
		}
		want := b.matches(agent, kind, s.checked)
		have := len(got) > 0 && got[0].seq == s.checked && !got[0].gap
		switch {
		case want && !have:
			b.wrong.add("lost on a stream", "%s did not get evt_%d", s, s.checked)
		case have && !want:
			b.wrong.add("not asked for", "%s got evt_%d", s, s.checked)
		}
		if have {
			got = got[1:]
			s.verified++
		}
	}
	s.got = append(s.got[:0], got...)
}

// matches tells whether evt_seq passes a filter. The mutex is held.
func (b *ledger) matches(agent, kind uint8, seq uint64) bool {
	if seq <= b.base || seq > b.head {
		return false
	}
	r := b.recs[seq-b.base-1]
	return r.there && (agent == 0 || r.agent == agent) && (kind == 0 || r.kind == kind)
}

func (b *ledger) countMatching(agent, kind uint8, from, through uint64) (n int) {
	for seq := from; seq <= through; seq++ {
		if b.matches(agent, kind, seq) {
			n++
		}
	}
	return n
}

// lastMatching is the last event that passes a filter, or 0.
func (b *ledger) lastMatching(f filter) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	agent, kind := b.number(f.agent), b.number(f.kind)
	for seq := b.head; seq > b.base; seq-- {
		if b.matches(agent, kind, seq) {
			return seq
		}
	}
	return 0
}
