package index

import "github.com/osa-edge/osa-gateway/event"

// Source is where the positions of a hash are looked up.
type Source interface {
	// Get returns the positions that have the hash; ok is false if there are none.
	// An error that is storage.ErrDamaged is one of the table's file.
	Get(hash uint64) (s Set, ok bool, err error)
}

// Table is a Source whose hashes can be listed.
type Table interface {
	Source
	// Hashes calls fn with every hash, ascending, until it returns false.
	Hashes(fn func(hash uint64) bool) error
}

// Evaluate returns the positions below count whose events match the filter, its
// dates aside. Terms are compared by their hashes: it may return a position too
// many, and whoever has decoded the event asks f.Matches.
func Evaluate(src Source, seed Seed, f *event.Filter, count int) (Set, error) {
	clauses := f.Clauses()
	if f.WorkspaceID != "" {
		// Last, for it rarely says much.
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

// union is everything that has any of the terms.
func union(src Source, seed Seed, clause []event.Term) (Set, error) {
	// Sets are united some at a time, which bounds how many are held at once.
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
