package segment

import (
	"slices"
	"sort"
	"sync/atomic"

	"github.com/osa-edge/osa-gateway/storage"
)

// segment is a run of events that stand together on disk. It is closed when the
// last version of the log that holds it is gone.
type segment struct {
	base uint64
	// pred is the last sequence number that the log held before it.
	pred uint64
	content
	refs atomic.Int64
	// failed: it cannot be sealed, and stays as it is.
	failed atomic.Bool
}

// end is the sequence number after its last.
func (s *segment) end() uint64 { return s.base + uint64(s.count()) }

func (s *segment) unsealed() *unsealed {
	u, _ := s.content.(*unsealed)
	return u
}

// version is a list of segments, ascending. It never changes, save that the last
// segment grows.
type version struct {
	segs []*segment
	refs atomic.Int64
}

func newVersion(segs []*segment) *version {
	v := &version{segs: segs}
	v.refs.Store(1)
	for _, s := range segs {
		s.refs.Add(1)
	}
	return v
}

func (v *version) release() {
	if v.refs.Add(-1) > 0 {
		return
	}
	for _, s := range v.segs {
		if s.refs.Add(-1) == 0 {
			s.close()
		}
	}
}

// from is the index of the first segment that ends after seq.
func (v *version) from(seq uint64) int {
	return sort.Search(len(v.segs), func(i int) bool { return v.segs[i].end() > seq })
}

// find returns the segment that holds seq, or nil.
func (v *version) find(seq uint64) *segment {
	i := v.from(seq)
	if i == len(v.segs) || v.segs[i].base > seq {
		return nil
	}
	return v.segs[i]
}

// replaceSegments replaces the list of segments by what fn makes of a copy of it.
func (l *Log) replaceSegments(fn func(segs []*segment) []*segment) {
	l.replaceMu.Lock()
	defer l.replaceMu.Unlock()
	v := newVersion(fn(slices.Clone(l.cur.segs)))
	l.mu.Lock()
	old := l.cur
	l.cur = v
	l.mu.Unlock()
	old.release()
}

// View is the log at one moment. Its owner closes it.
type View struct {
	log *Log
	v   *version
	// Floor is the first sequence number that counts, Last the last one that was
	// committed.
	Floor, Last uint64
}

// View returns the log as it is now.
func (l *Log) View() *View {
	// In this order: the segments hold all up to last, and what is missing of
	// them is below the floor.
	last := l.last.Load()
	l.mu.RLock()
	v := l.cur
	v.refs.Add(1)
	l.mu.RUnlock()
	return &View{log: l, v: v, Last: last, Floor: l.floor.Load()}
}

// Close lets go of the view's segments.
func (v *View) Close() { v.v.release() }

// Bounds are those of the view.
func (v *View) Bounds() storage.Bounds {
	b := storage.Bounds{Last: v.Last, Skipped: v.log.skippedFrom(v)}
	if v.Last == 0 {
		return b
	}
	b.First = max(v.Floor, 1)
	for _, s := range v.v.segs[v.v.from(b.First):] {
		if s.count() > 0 {
			b.First = max(b.First, s.base)
			return b
		}
	}
	b.First = max(b.First, v.Last+1)
	return b
}
