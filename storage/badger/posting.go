package badger

import (
	"encoding/binary"
	"math/bits"
)

// bitmap is the set of a bucket's events that have something in common: bit n is
// the event bucket*bucketSize+n.
type bitmap [bucketSize / 64]uint64

func (b *bitmap) set(n uint64) { b[n/64] |= 1 << (n % 64) }

func (b *bitmap) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (b *bitmap) empty() bool { return *b == bitmap{} }

func (b *bitmap) or(o *bitmap) {
	for i := range b {
		b[i] |= o[i]
	}
}

func (b *bitmap) and(o *bitmap) {
	for i := range b {
		b[i] &= o[i]
	}
}

// keep drops what is not between lo and hi, both inclusive.
func (b *bitmap) keep(lo, hi uint64) {
	for i := range b {
		first, last := uint64(i)*64, uint64(i)*64+63
		switch {
		case last < lo || first > hi:
			b[i] = 0
		default:
			if first < lo {
				b[i] &= ^uint64(0) << (lo - first)
			}
			if last > hi {
				b[i] &= ^uint64(0) >> (last - hi)
			}
		}
	}
}

// take removes and returns the lowest number, or the highest.
func (b *bitmap) take(lowest bool) (uint64, bool) {
	if lowest {
		for i := range b {
			if b[i] != 0 {
				n := bits.TrailingZeros64(b[i])
				b[i] &= b[i] - 1
				return uint64(i*64 + n), true
			}
		}
		return 0, false
	}
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			n := 63 - bits.LeadingZeros64(b[i])
			b[i] &^= 1 << n
			return uint64(i*64 + n), true
		}
	}
	return 0, false
}

// A posting's value is a bitmap as it stands, or the gaps between its numbers
// where those are shorter.
const (
	postingGaps  = 0
	postingWords = 1
)

func (b *bitmap) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, postingGaps)
	last := uint64(0)
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			n := uint64(i*64 + bits.TrailingZeros64(w))
			dst = binary.AppendUvarint(dst, n-last)
			last = n
		}
		if len(dst)-start > bucketSize/8 {
			dst = append(dst[:start], postingWords)
			for _, w := range b {
				dst = binary.BigEndian.AppendUint64(dst, w)
			}
			return dst
		}
	}
	return dst
}

// parse reads what appendTo wrote.
func (b *bitmap) parse(v []byte) error {
	*b = bitmap{}
	if len(v) == 0 {
		return corrupt("empty posting")
	}
	kind, v := v[0], v[1:]
	switch kind {
	case postingGaps:
		n := uint64(0)
		for len(v) > 0 {
			gap, w := binary.Uvarint(v)
			if w <= 0 || gap >= bucketSize || n+gap >= bucketSize {
				return corrupt("posting")
			}
			n += gap
			b.set(n)
			v = v[w:]
		}
		return nil
	case postingWords:
		if len(v) != bucketSize/8 {
			return corrupt("posting size")
		}
		for i := range b {
			b[i] = binary.BigEndian.Uint64(v[8*i:])
		}
		return nil
	}
	return corrupt("posting kind")
}

// span is what a bucket holds: its events and when they were received.
type span struct {
	events         bitmap
	earliest, late int64 // Unix nanoseconds
}

func (s *span) add(n uint64, at int64) {
	if s.events.empty() || at < s.earliest {
		s.earliest = at
	}
	if s.events.empty() || at > s.late {
		s.late = at
	}
	s.events.set(n)
}

func (s *span) appendTo(dst []byte) []byte {
	dst = binary.AppendVarint(dst, s.earliest)
	dst = binary.AppendVarint(dst, s.late)
	return s.events.appendTo(dst)
}

func (s *span) parse(v []byte) error {
	var w int
	if s.earliest, w = binary.Varint(v); w <= 0 {
		return corrupt("times")
	}
	v = v[w:]
	if s.late, w = binary.Varint(v); w <= 0 {
		return corrupt("times")
	}
	return s.events.parse(v[w:])
}
