package hub

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// frame is one encoded event. All subscriptions that receive the event share
// it.
type frame struct {
	seq  uint64
	data []byte
	refs int // The number of groups that hold it. Guarded by Hub.mu.
}

// group is the set of subscriptions with the same filter. They share one window
// of frames, and each has its own position in it. An event costs one append for
// a group of any size.
type group struct {
	key           string
	filter        event.Filter
	clauses       [][]event.Term
	indexedClause int    // The clause that the index finds the group by.
	lastMatched   uint64 // The last event that matched. Guarded by Hub.mu.
	lastBatch     uint64 // The last batch with a matching event. Guarded by Hub.mu.
	// Guarded by Hub.mu.
	subscribers int

	mu     sync.Mutex
	frames []*frame
	base   uint64 // The position of frames[0]. Positions count the group's events.
	// Every matching event after floor that the hub has published is in frames.
	floor   uint64
	waiting []*Subscription
	closed  bool
}

// matches checks the clauses that the index has not checked.
func (g *group) matches(terms []event.Term) bool {
	for i, clause := range g.clauses {
		if i != g.indexedClause && !anyOf(clause, terms) {
			return false
		}
	}
	return true
}

// inDateRange checks the filter's dates.
func (g *group) inDateRange(at time.Time) bool {
	return (g.filter.Since.IsZero() || !at.Before(g.filter.Since)) && (g.filter.Until.IsZero() || !at.After(g.filter.Until))
}

// matchesAll checks the whole filter, for events that are read from the log.
func (g *group) matchesAll(e *event.Event, terms []event.Term) bool {
	if g.filter.WorkspaceID != "" && g.filter.WorkspaceID != e.WorkspaceID || !g.inDateRange(e.ReceivedAt) {
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

// size returns the size of the frame in memory.
func (f *frame) size() int { return len(f.data) + 64 }

func (g *group) append(f *frame) {
	g.mu.Lock()
	g.frames = append(g.frames, f)
	g.mu.Unlock()
}

// drop removes the oldest frame and returns it.
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

// find returns the position of the first frame after the given sequence number.
func (g *group) find(after uint64) uint64 {
	return g.base + uint64(sort.Search(len(g.frames), func(i int) bool { return g.frames[i].seq > after }))
}

func (g *group) end() uint64 { return g.base + uint64(len(g.frames)) }

// wakeWaiting wakes the subscriptions whose last Poll was empty. A subscription
// that is writing finds the new frames itself.
func (g *group) wakeWaiting() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range g.waiting {
		g.waiting[i] = nil
		s.waitAt = -1
		s.wake()
	}
	g.waiting = g.waiting[:0]
}

func (g *group) addWaiting(s *Subscription) {
	if s.waitAt < 0 {
		s.waitAt = len(g.waiting)
		g.waiting = append(g.waiting, s)
	}
}

func (g *group) removeWaiting(s *Subscription) {
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
