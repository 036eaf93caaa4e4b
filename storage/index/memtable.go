package index

import (
	"slices"
	"sync"

	"github.com/osa-edge/osa-gateway/event"
)

// MemTable is a table in memory: hashes with the positions that were added for
// them. One goroutine adds; any number may read concurrently. It stores hashes
// and no strings, so its size is bounded by the number of positions: 12 to 32
// bytes for a hash with one position, at most about 45 for others.
//
// The table is split into shards by the highest byte of the hash. Each shard
// grows on its own, so that no single Add moves the whole table.
type MemTable struct {
	mu     sync.RWMutex
	shards [256]shard
	hashes int
	// lists are the sets of hashes with more than one position. They are
	// allocated in chunks that never move.
	lists [][]Set
	// arena is the unused part of the array that short lists are allocated from.
	arena []uint16
}

// shard is a hash table with linear probing.
type shard struct {
	slots []slot
	used  int
}

// slot is one entry. The hash is split in two halves, so that a slot takes 12
// bytes. value is 0 for an empty slot, the only position plus 1, or listFlag
// with the number of a list.
type slot struct{ lo, hi, value uint32 }

const (
	listFlag = 1 << 31
	// listChunk is how many lists are allocated at once.
	listChunk = 512
	// maxArenaList is the longest list in the shared arena of arenaSize
	// positions.
	maxArenaList = 64
	arenaSize    = 4096
)

func (s *slot) hash() uint64 { return uint64(s.hi)<<32 | uint64(s.lo) }

// NewMemTable returns an empty table.
func NewMemTable() *MemTable { return &MemTable{} }

// Add adds a position for a hash. Positions must be added in ascending order.
// Adding the last one again has no effect.
func (m *MemTable) Add(hash uint64, pos uint16) {
	m.mu.Lock()
	m.add(hash, pos)
	m.mu.Unlock()
}

// AddEvent adds the position for all terms of the event and for its workspace.
func (m *MemTable) AddEvent(seed Seed, e *event.Event, pos uint16) {
	var (
		terms  [10]event.Term
		hashes [10]uint64
	)
	all := append(e.AppendTerms(terms[:0]), event.Term{Field: FieldWorkspace, Value: e.WorkspaceID})
	sums := hashes[:0]
	for _, t := range all {
		sums = append(sums, seed.Term(t))
	}
	m.mu.Lock()
	for _, h := range sums {
		m.add(h, pos)
	}
	m.mu.Unlock()
}

func (m *MemTable) add(hash uint64, pos uint16) {
	s := &m.shards[hash>>56]
	if 4*s.used >= 3*len(s.slots) {
		s.grow()
	}
	slot := s.find(hash)
	switch {
	case slot.value == 0:
		slot.lo, slot.hi, slot.value = uint32(hash), uint32(hash>>32), uint32(pos)+1
		s.used++
		m.hashes++
	case slot.value&listFlag != 0:
		m.append(m.list(slot.value), pos)
	case slot.value != uint32(pos)+1:
		only := uint16(slot.value - 1)
		l := m.newList(slot)
		m.append(l, only)
		m.append(l, pos)
	}
}

// find returns the slot of the hash, or the empty slot where it belongs.
func (s *shard) find(hash uint64) *slot {
	lo, hi := uint32(hash), uint32(hash>>32)
	mask := uint32(len(s.slots) - 1)
	for i := lo & mask; ; i = (i + 1) & mask {
		if at := &s.slots[i]; at.value == 0 || at.lo == lo && at.hi == hi {
			return at
		}
	}
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]slot, max(16, 2*len(old)))
	for i := range old {
		if old[i].value != 0 {
			*s.find(old[i].hash()) = old[i]
		}
	}
}

func (m *MemTable) list(value uint32) *Set {
	n := value &^ listFlag
	return &m.lists[n/listChunk][n%listChunk]
}

// newList allocates an empty list and stores it in the slot.
func (m *MemTable) newList(s *slot) *Set {
	if n := len(m.lists); n == 0 || len(m.lists[n-1]) == listChunk {
		m.lists = append(m.lists, make([]Set, 0, listChunk))
	}
	last := len(m.lists) - 1
	m.lists[last] = append(m.lists[last], Set{})
	n := len(m.lists[last]) - 1
	s.value = listFlag | uint32(last*listChunk+n)
	return &m.lists[last][n]
}

// append adds a position to a list. Readers may hold the array up to its
// current length; it is only written beyond that.
func (m *MemTable) append(l *Set, pos uint16) {
	if l.bits != nil {
		l.bits.add(pos)
		return
	}
	n := len(l.array)
	if n > 0 && l.array[n-1] >= pos {
		if _, found := slices.BinarySearch(l.array, pos); !found {
			l.array = slices.Clone(l.array)
			l.Add(pos)
		}
		return
	}
	if n == arrayMax {
		l.Add(pos) // Add switches to a bitmap. The array stays as it is for its readers.
		return
	}
	if n == cap(l.array) {
		l.array = append(m.array(max(4, 2*n)), l.array...)
	}
	l.array = append(l.array, pos)
}

// array returns an empty array with capacity for n positions.
func (m *MemTable) array(n int) []uint16 {
	if n > maxArenaList {
		return make([]uint16, 0, n)
	}
	if len(m.arena) < n {
		m.arena = make([]uint16, arenaSize)
	}
	out := m.arena[:0:n]
	m.arena = m.arena[n:]
	return out
}

// Get returns the positions that were added for the hash. The error is always
// nil.
func (m *MemTable) Get(hash uint64) (Set, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &m.shards[hash>>56]
	if len(s.slots) == 0 {
		return Set{}, false, nil
	}
	at := s.find(hash)
	if at.value == 0 {
		return Set{}, false, nil
	}
	return m.slotSet(at), true, nil
}

// slotSet returns the current set of a slot.
func (m *MemTable) slotSet(at *slot) Set {
	if at.value&listFlag == 0 {
		return Set{array: []uint16{uint16(at.value - 1)}}
	}
	l := m.list(at.value)
	if l.bits != nil {
		b := *l.bits
		return Set{bits: &b}
	}
	return Set{array: l.array[:len(l.array):len(l.array)]}
}

// Len returns the number of different hashes.
func (m *MemTable) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.hashes
}

// Hashes calls fn with every hash in ascending order until fn returns false.
// Hashes that are added meanwhile may be left out. The error is always nil.
func (m *MemTable) Hashes(fn func(hash uint64) bool) error {
	var slots []slot
	for i := range m.shards {
		slots = m.sorted(i, slots[:0])
		for j := range slots {
			if !fn(slots[j].hash()) {
				return nil
			}
		}
	}
	return nil
}

// sorted appends the slots of a shard ordered by hash.
func (m *MemTable) sorted(shard int, dst []slot) []slot {
	m.mu.RLock()
	for _, s := range m.shards[shard].slots {
		if s.value != 0 {
			dst = append(dst, s)
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(dst, func(a, b slot) int {
		if a.hash() < b.hash() {
			return -1
		}
		return 1
	})
	return dst
}

var _ Table = (*MemTable)(nil)
