package index

import "github.com/osa-edge/osa-gateway/event"

// Source maps hashes to positions.
type Source interface {
	// Get returns the positions for the hash. ok is false if there are none.
	// storage.ErrDamaged means that the table's file is damaged.
	Get(hash uint64) (s Set, ok bool, err error)
}

// Table is a Source that can list its hashes.
type Table interface {
	Source
	// Hashes calls fn with every hash in ascending order until fn returns false.
	Hashes(fn func(hash uint64) bool) error
}

// Evaluate returns the positions below count of events that match the filter
// without its dates. Because terms are compared by hash, it may return
// positions that do not match: the caller decodes the event and checks
// f.Matches.
func Evaluate(src Source, seed Seed, f *event.Filter, count int) (Set, error) {
	clauses := f.Clauses()
	if f.WorkspaceID != "" {
		// The workspace comes last, because it is rarely selective.
		clauses = append(clauses, []event.Term{{Field: FieldWorkspace, Value: f.WorkspaceID}})
	}
	if len(clauses) == 0 {
		return RangeSet(0, count), nil
	}
	var out Set
	for i, clause := range clauses {
		any, err := union(src, seed, clause)
		if err != nil {
			return Set{}, err
		}
		if i == 0 {
			out = any.KeepRange(0, count)
		} else {
			out = out.And(any)
		}
		if out.Empty() {
			return Set{}, nil
		}
	}
	return out, nil
}

// union returns the positions of all events with any of the terms.
func union(src Source, seed Seed, clause []event.Term) (Set, error) {
	// Sets are merged in groups, which bounds how many are in memory.
	const atOnce = 64
	sets := make([]Set, 0, min(len(clause), atOnce))
	for _, t := range clause {
		s, ok, err := src.Get(seed.Term(t))
		if err != nil {
			return Set{}, err
		}
		if !ok {
			continue
		}
		if len(sets) == atOnce {
			sets = append(sets[:0], Union(sets...))
		}
		sets = append(sets, s)
	}
	return Union(sets...), nil
}
