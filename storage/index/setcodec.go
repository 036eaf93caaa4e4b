package index

import (
	"encoding/binary"
	"fmt"

	"github.com/osa-edge/osa-gateway/storage"
)

// The encoding of a set is either the gaps between its numbers or its bitmap up
// to the last set bit, whichever is shorter.
const (
	setGaps = 0
	setBits = 1
)

// maxSetBytes is the longest encoding of a set.
const maxSetBytes = 1 + MaxPositions/8

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", storage.ErrDamaged, fmt.Sprintf(format, args...))
}

// AppendBinary appends the set: one byte for the form, then the gaps as varints
// (the first is the lowest position, every other at least 1), or 64-bit words
// in little-endian order with the lowest positions first.
func (s Set) AppendBinary(dst []byte) []byte {
	start := len(dst)
	top, ok := s.Prev(MaxPositions)
	if !ok {
		return append(dst, setGaps)
	}
	asBits := 8 * (int(top)/64 + 1)
	if s.Len() <= asBits { // A gap takes at least one byte.
		dst = append(dst, setGaps)
		last := uint16(0)
		for pos := range s.All() {
			dst = binary.AppendUvarint(dst, uint64(pos-last))
			last = pos
			if len(dst)-start > asBits {
				break
			}
		}
		if len(dst)-start-1 <= asBits {
			return dst
		}
		dst = dst[:start]
	}
	b := s.bits
	if b == nil {
		b = bitmapOf(s.array)
	}
	dst = append(dst, setBits)
	for _, w := range b.words[:asBits/8] {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// ParseSet decodes what AppendBinary wrote. It does not keep b.
func ParseSet(b []byte) (Set, error) {
	if len(b) == 0 {
		return Set{}, damaged("empty set")
	}
	kind, b := b[0], b[1:]
	switch kind {
	case setGaps:
		return decodeGaps(b)
	case setBits:
		if len(b) == 0 || len(b)%8 != 0 || len(b) > MaxPositions/8 {
			return Set{}, damaged("set of %d bytes of bits", len(b))
		}
		m := new(bitmap)
		for i := range len(b) / 8 {
			m.words[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		return m.toSet(), nil
	}
	return Set{}, damaged("set of unknown form %d", kind)
}

func decodeGaps(b []byte) (Set, error) {
	var s Set
	if len(b) <= arrayMax {
		s.array = make([]uint16, 0, len(b))
	}
	pos := uint64(0)
	for first := true; len(b) > 0; first = false {
		gap, n := binary.Uvarint(b)
		if n <= 0 || gap >= MaxPositions || gap == 0 && !first || pos+gap >= MaxPositions {
			return Set{}, damaged("set with a gap that cannot be")
		}
		pos += gap
		s.Add(uint16(pos))
		b = b[n:]
	}
	return s, nil
}
