package segment

import (
	"slices"
	"sort"
	"sync/atomic"

	"github.com/osa-edge/osa-gateway/storage"
)

// segment is a contiguous part of the log. It is closed when the last version
// that holds it is released.
type segment struct {
	base uint64
	// pred is the last sequence number before it in the log.
	pred uint64
	content
	refs atomic.Int64
	// failed means that it cannot be sealed and stays as it is.
	failed atomic.Bool
}

// end returns the sequence number after its last event.
func (s *segment) end() uint64 { return s.base + uint64(s.count()) }

func (s *segment) unsealed() *unsealed {
	u, _ := s.content.(*unsealed)
	return u
}

// version is an ascending list of segments. It does not change, except that the
// last segment grows.
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

// from returns the index of the first segment that ends after seq.
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

// replaceSegments replaces the list of segments with the result of fn on a copy
// of it.
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

// View is the log at one moment. The caller closes it.
type View struct {
	log *Log
	v   *version
	// Floor is the first sequence number that is kept, Last the last committed
	// one.
	Floor, Last uint64
}

// View returns the log as it is now.
func (l *Log) View() *View {
	// The order matters: the segments hold everything up to last, and what they
	// lack is below the floor.
	last := l.last.Load()
	l.mu.RLock()
	v := l.cur
	v.refs.Add(1)
	l.mu.RUnlock()
	return &View{log: l, v: v, Last: last, Floor: l.floor.Load()}
}

// Close releases the view's segments.
func (v *View) Close() { v.v.release() }

// Bounds returns the bounds of the view.
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
