package index

import (
	"iter"
	"math/bits"
	"slices"
)

// MaxPositions is the maximum number of events in a segment.
const MaxPositions = 1 << 16

const (
	// arrayMax is the size from which a bitmap is smaller than an array.
	arrayMax = 4096
	setWords = MaxPositions / 64
)

// Set is a set of positions: a sorted array of up to 4096 numbers, or a bitmap
// of 8 KiB, like a container of a roaring bitmap. The zero Set is empty.
// Operations may return sets that share memory. A set does not change after it
// was built with Add.
type Set struct {
	array []uint16
	bits  *bitmap // Used in place of array.
}

type bitmap struct {
	words [setWords]uint64
	n     int
}

func (b *bitmap) has(pos uint16) bool { return b.words[pos/64]&(1<<(pos%64)) != 0 }

func (b *bitmap) add(pos uint16) {
	w, bit := &b.words[pos/64], uint64(1)<<(pos%64)
	if *w&bit == 0 {
		*w |= bit
		b.n++
	}
}

func (b *bitmap) addRange(lo, hi int) {
	for lo < hi {
		end := min(hi, (lo/64+1)*64)
		b.words[lo/64] |= (^uint64(0) >> (64 - (end - lo))) << (lo % 64)
		lo = end
	}
}

func (b *bitmap) count() {
	b.n = 0
	for _, w := range &b.words {
		b.n += bits.OnesCount64(w)
	}
}

// toSet counts the bits and returns the set in its smaller form.
func (b *bitmap) toSet() Set {
	b.count()
	if b.n > arrayMax {
		return Set{bits: b}
	}
	array := make([]uint16, 0, b.n)
	for i, w := range &b.words {
		for ; w != 0; w &= w - 1 {
			array = append(array, uint16(i*64+bits.TrailingZeros64(w)))
		}
	}
	return Set{array: array}
}

func bitmapOf(array []uint16) *bitmap {
	b := &bitmap{n: len(array)}
	for _, pos := range array {
		b.words[pos/64] |= 1 << (pos % 64)
	}
	return b
}

// RangeSet returns the set of the positions in [lo, hi).
func RangeSet(lo, hi int) Set {
	lo, hi = max(0, lo), min(hi, MaxPositions)
	if hi <= lo {
		return Set{}
	}
	if hi-lo <= arrayMax {
		array := make([]uint16, hi-lo)
		for i := range array {
			array[i] = uint16(lo + i)
		}
		return Set{array: array}
	}
	b := &bitmap{n: hi - lo}
	b.addRange(lo, hi)
	return Set{bits: b}
}

// Add adds a position. Ascending order is fastest. It must not be called after
// the set was shared.
func (s *Set) Add(pos uint16) {
	switch {
	case s.bits != nil:
		s.bits.add(pos)
		return
	case len(s.array) == 0 || s.array[len(s.array)-1] < pos:
		s.array = append(s.array, pos)
	default:
		i, found := slices.BinarySearch(s.array, pos)
		if found {
			return
		}
		s.array = slices.Insert(s.array, i, pos)
	}
	if len(s.array) > arrayMax {
		*s = Set{bits: bitmapOf(s.array)}
	}
}

// Len returns the number of positions.
func (s Set) Len() int {
	if s.bits != nil {
		return s.bits.n
	}
	return len(s.array)
}

// Empty reports whether the set has no positions.
func (s Set) Empty() bool { return s.Len() == 0 }

// Contains reports whether pos is in the set.
func (s Set) Contains(pos uint16) bool {
	if s.bits != nil {
		return s.bits.has(pos)
	}
	_, found := slices.BinarySearch(s.array, pos)
	return found
}

// Next returns the lowest position that is at least from.
func (s Set) Next(from int) (pos uint16, ok bool) {
	from = max(from, 0)
	if from >= MaxPositions {
		return 0, false
	}
	if s.bits == nil {
		i, _ := slices.BinarySearch(s.array, uint16(from))
		if i == len(s.array) {
			return 0, false
		}
		return s.array[i], true
	}
	mask := ^uint64(0) << (from % 64)
	for i := from / 64; i < setWords; i++ {
		if w := s.bits.words[i] & mask; w != 0 {
			return uint16(i*64 + bits.TrailingZeros64(w)), true
		}
		mask = ^uint64(0)
	}
	return 0, false
}

// Prev returns the highest position that is at most from.
func (s Set) Prev(from int) (pos uint16, ok bool) {
	from = min(from, MaxPositions-1)
	if from < 0 {
		return 0, false
	}
	if s.bits == nil {
		i, found := slices.BinarySearch(s.array, uint16(from))
		if found {
			return s.array[i], true
		}
		if i == 0 {
			return 0, false
		}
		return s.array[i-1], true
	}
	mask := ^uint64(0) >> (63 - from%64)
	for i := from / 64; i >= 0; i-- {
		if w := s.bits.words[i] & mask; w != 0 {
			return uint16(i*64 + 63 - bits.LeadingZeros64(w)), true
		}
		mask = ^uint64(0)
	}
	return 0, false
}

// All iterates over the set in ascending order.
func (s Set) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if s.bits == nil {
			for _, pos := range s.array {
				if !yield(pos) {
					return
				}
			}
			return
		}
		for i, w := range &s.bits.words {
			for ; w != 0; w &= w - 1 {
				if !yield(uint16(i*64 + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// Backward iterates over the set in descending order.
func (s Set) Backward() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if s.bits == nil {
			for _, pos := range slices.Backward(s.array) {
				if !yield(pos) {
					return
				}
			}
			return
		}
		for i := setWords - 1; i >= 0; i-- {
			for w := s.bits.words[i]; w != 0; {
				n := 63 - bits.LeadingZeros64(w)
				w &^= 1 << n
				if !yield(uint16(i*64 + n)) {
					return
				}
			}
		}
	}
}
