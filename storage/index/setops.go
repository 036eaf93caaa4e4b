package index

import "slices"

// Union returns the positions that are in any of the sets.
func Union(sets ...Set) Set {
	total, filled, last := 0, 0, Set{}
	dense := false
	for _, s := range sets {
		if n := s.Len(); n > 0 {
			total += n
			filled++
			last = s
			dense = dense || s.bits != nil
		}
	}
	if filled <= 1 {
		return last
	}
	if !dense && total <= arrayMax {
		array := make([]uint16, 0, total)
		for _, s := range sets {
			array = append(array, s.array...)
		}
		slices.Sort(array)
		return Set{array: slices.Compact(array)}
	}
	b := new(bitmap)
	for _, s := range sets {
		if s.bits != nil {
			for i, w := range &s.bits.words {
				b.words[i] |= w
			}
			continue
		}
		for _, pos := range s.array {
			b.words[pos/64] |= 1 << (pos % 64)
		}
	}
	return b.toSet()
}

// Or returns the positions that are in s or in o.
func (s Set) Or(o Set) Set { return Union(s, o) }

// And returns the positions that are in s and in o.
func (s Set) And(o Set) Set {
	switch {
	case s.bits != nil && o.bits != nil:
		b := new(bitmap)
		for i, w := range &s.bits.words {
			b.words[i] = w & o.bits.words[i]
		}
		return b.toSet()
	case s.bits != nil:
		s, o = o, s
		fallthrough
	case o.bits != nil:
		return s.filter(o.bits.has)
	}
	if len(s.array) > len(o.array) {
		s, o = o, s
	}
	// Gallop through the longer array, from where the last search ended.
	out, rest := make([]uint16, 0, len(s.array)), o.array
	for _, pos := range s.array {
		step := 1
		for step < len(rest) && rest[step] < pos {
			step *= 2
		}
		i, found := slices.BinarySearch(rest[:min(step+1, len(rest))], pos)
		if rest = rest[i:]; len(rest) == 0 {
			break
		}
		if found {
			out = append(out, pos)
		}
	}
	return Set{array: out}
}

// AndNot returns the positions that are in s and not in o.
func (s Set) AndNot(o Set) Set {
	if s.bits == nil {
		return s.filter(func(pos uint16) bool { return !o.Contains(pos) })
	}
	b := &bitmap{words: s.bits.words}
	if o.bits != nil {
		for i, w := range &o.bits.words {
			b.words[i] &^= w
		}
		return b.toSet()
	}
	for _, pos := range o.array {
		b.words[pos/64] &^= 1 << (pos % 64)
	}
	return b.toSet()
}

// KeepRange returns the positions of s in [lo, hi).
func (s Set) KeepRange(lo, hi int) Set {
	lo, hi = max(0, lo), min(hi, MaxPositions)
	switch {
	case hi <= lo:
		return Set{}
	case lo == 0 && hi == MaxPositions:
		return s
	case s.bits != nil:
		var b bitmap
		b.addRange(lo, hi)
		return s.And(Set{bits: &b})
	}
	from, _ := slices.BinarySearch(s.array, uint16(lo))
	to := len(s.array)
	if hi < MaxPositions {
		to, _ = slices.BinarySearch(s.array, uint16(hi))
	}
	return Set{array: s.array[from:to:to]}
}

func (s Set) filter(keep func(uint16) bool) Set {
	out := make([]uint16, 0, len(s.array))
	for _, pos := range s.array {
		if keep(pos) {
			out = append(out, pos)
		}
	}
	return Set{array: out}
}
