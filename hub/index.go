package hub

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// index finds the groups that an event matches by the terms of the event. The
// cost depends on the number of matching groups and not on the number of
// subscriptions.
type index struct {
	workspaces map[string]*workspaceIndex // By workspace. "" holds the groups that see all workspaces.
}

type workspaceIndex struct {
	all    []*group // Groups without clauses.
	byTerm map[event.Term][]*group
	groups int
}

// add adds the group. It is indexed by the clause whose terms have the fewest
// groups. The other clauses are checked when an event matches.
func (x *index) add(g *group) {
	s := x.workspaces[g.filter.WorkspaceID]
	if s == nil {
		s = &workspaceIndex{byTerm: make(map[event.Term][]*group)}
		if x.workspaces == nil {
			x.workspaces = make(map[string]*workspaceIndex)
		}
		x.workspaces[g.filter.WorkspaceID] = s
	}
	s.groups++
	if len(g.clauses) == 0 {
		s.all = append(s.all, g)
		return
	}
	best, crowd := 0, -1
	for i, clause := range g.clauses {
		n := 0
		for _, t := range clause {
			n += len(s.byTerm[t])
		}
		if crowd < 0 || n < crowd {
			best, crowd = i, n
		}
	}
	g.indexedClause = best
	for _, t := range g.clauses[best] {
		s.byTerm[t] = append(s.byTerm[t], g)
	}
}

func (x *index) remove(g *group) {
	s := x.workspaces[g.filter.WorkspaceID]
	if s == nil {
		return
	}
	if len(g.clauses) == 0 {
		s.all = without(s.all, g)
	} else {
		for _, t := range g.clauses[g.indexedClause] {
			if rest := without(s.byTerm[t], g); len(rest) > 0 {
				s.byTerm[t] = rest
			} else {
				delete(s.byTerm, t)
			}
		}
	}
	if s.groups--; s.groups == 0 {
		delete(x.workspaces, g.filter.WorkspaceID)
	}
}

func without(groups []*group, g *group) []*group {
	i := slices.Index(groups, g)
	if i < 0 {
		return groups
	}
	last := len(groups) - 1
	groups[i] = groups[last]
	groups[last] = nil
	return groups[:last]
}

// match appends the groups that the event matches, each once.
func (x *index) match(dst []*group, e *event.Event, terms []event.Term) []*group {
	dst = x.workspaces[e.WorkspaceID].match(dst, e, terms)
	if e.WorkspaceID != "" {
		dst = x.workspaces[""].match(dst, e, terms)
	}
	return dst
}

func (s *workspaceIndex) match(dst []*group, e *event.Event, terms []event.Term) []*group {
	if s == nil {
		return dst
	}
	for _, g := range s.all {
		if g.inDateRange(e.ReceivedAt) {
			dst = append(dst, g)
		}
	}
	if len(s.byTerm) == 0 {
		return dst
	}
	for _, t := range terms {
		for _, g := range s.byTerm[t] {
			// A clause may contain both the type and the kind of an event.
			if g.lastMatched == e.Seq || !g.inDateRange(e.ReceivedAt) || !g.matches(terms) {
				continue
			}
			g.lastMatched = e.Seq
			dst = append(dst, g)
		}
	}
	return dst
}

// canonical sorts a filter's clauses, so that equal filters have equal keys.
func canonical(f *event.Filter) (clauses [][]event.Term, key string) {
	order := func(a, b event.Term) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Value, b.Value))
	}
	clauses = f.Clauses()
	for i, c := range clauses {
		slices.SortFunc(c, order)
		clauses[i] = slices.Compact(c)
	}
	slices.SortFunc(clauses, func(a, b []event.Term) int { return slices.CompareFunc(a, b, order) })
	b := appendPart(nil, f.WorkspaceID)
	for _, c := range clauses {
		b = append(b, '/')
		for _, t := range c {
			b = appendPart(append(b, byte(t.Field)), t.Value)
		}
	}
	for _, at := range []time.Time{f.Since, f.Until} {
		b = append(b, '/')
		if !at.IsZero() {
			b = strconv.AppendInt(b, at.UnixNano(), 10)
		}
	}
	return clauses, string(b)
}

func appendPart(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}
