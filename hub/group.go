package hub

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// frame is one encoded event, shared by everyone whom it goes to.
type frame struct {
	seq  uint64
	data []byte
	refs int // groups that hold it; guarded by Hub.mu
}

// group is all subscriptions of one filter. They share one window of frames,
// each with a place of its own in it: a thousand dashboards that look at the
// same thing cost one append an event.
type group struct {
	key     string
	filter  event.Filter
	clauses [][]event.Term
	indexed int    // which clause the index holds it under
	matched uint64 // last event matched; guarded by Hub.mu, as is
	batch   uint64 // the last batch that brought something, and
	members int

	mu     sync.Mutex
	frames []*frame
	base   uint64 // the place of frames[0]; places count the group's events
	// floor: everything after this sequence number that matches and that the
	// hub has published is in frames.
	floor   uint64
	waiting []*Subscription
	closed  bool
}

// matches checks the clauses that the index did not.
func (g *group) matches(terms []event.Term) bool {
	for i, clause := range g.clauses {
		if i != g.indexed && !anyOf(clause, terms) {
			return false
		}
	}
	return true
}

// within checks the dates.
func (g *group) within(at time.Time) bool {
	return (g.filter.Since.IsZero() || !at.Before(g.filter.Since)) && (g.filter.Until.IsZero() || !at.After(g.filter.Until))
}

// matchesAll checks all of the filter, for what is read from the log.
func (g *group) matchesAll(e *event.Event, terms []event.Term) bool {
	if g.filter.WorkspaceID != "" && g.filter.WorkspaceID != e.WorkspaceID || !g.within(e.ReceivedAt) {
		return false
	}
	for _, clause := range g.clauses {
		if !anyOf(clause, terms) {
			return false
		}
	}
	return true
}

func anyOf(clause, terms []event.Term) bool {
	for _, c := range clause {
		if slices.Contains(terms, c) {
			return true
		}
	}
	return false
}

// size is what a frame counts for, with what surrounds it.
func (f *frame) size() int { return len(f.data) + 64 }

func (g *group) append(f *frame) {
	g.mu.Lock()
	g.frames = append(g.frames, f)
	g.mu.Unlock()
}

// drop forgets the oldest frame and returns it.
func (g *group) drop() *frame {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.frames) == 0 {
		return nil
	}
	f := g.frames[0]
	g.frames[0] = nil
	g.frames = g.frames[1:]
	if len(g.frames) == 0 {
		g.frames = nil
	}
	g.base++
	g.floor = f.seq
	return f
}

// find is the place of the first frame after the given sequence number.
func (g *group) find(after uint64) uint64 {
	return g.base + uint64(sort.Search(len(g.frames), func(i int) bool { return g.frames[i].seq > after }))
}

func (g *group) end() uint64 { return g.base + uint64(len(g.frames)) }

// wake calls everyone who came up empty. A subscription that is busy writing
// finds the new frames by itself.
func (g *group) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range g.waiting {
		g.waiting[i] = nil
		s.waitAt = -1
		s.wake()
	}
	g.waiting = g.waiting[:0]
}

func (g *group) wait(s *Subscription) {
	if s.waitAt < 0 {
		s.waitAt = len(g.waiting)
		g.waiting = append(g.waiting, s)
	}
}

func (g *group) unwait(s *Subscription) {
	if s.waitAt < 0 {
		return
	}
	last := len(g.waiting) - 1
	g.waiting[s.waitAt] = g.waiting[last]
	g.waiting[s.waitAt].waitAt = s.waitAt
	g.waiting[last] = nil
	g.waiting = g.waiting[:last]
	s.waitAt = -1
}
