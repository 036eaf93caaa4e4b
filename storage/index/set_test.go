package index

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/storage"
)

// drawSet draws a set of any density, and the same as a slice of its members.
func drawSet(t *rapid.T, label string) (Set, []uint16) {
	var s Set
	switch rapid.IntRange(0, 3).Draw(t, label+" shape") {
	case 0:
		for _, pos := range rapid.SliceOfN(rapid.Uint16(), 0, 40).Draw(t, label) {
			s.Add(pos)
		}
	case 1: // sparse in words, around where arrays end
		step := rapid.IntRange(1, 90).Draw(t, label+" step")
		for pos, n := rapid.IntRange(0, 3000).Draw(t, label+" from"), rapid.IntRange(arrayMax-5, arrayMax+5).Draw(t, label+" n"); pos < MaxPositions && n > 0; pos, n = pos+step, n-1 {
			s.Add(uint16(pos))
		}
	case 2:
		lo := rapid.IntRange(0, MaxPositions).Draw(t, label+" lo")
		s = RangeSet(lo, lo+rapid.IntRange(0, 9000).Draw(t, label+" n"))
	case 3: // dense, with holes
		holes, lo := rapid.IntRange(2, 500).Draw(t, label+" holes"), rapid.IntRange(0, MaxPositions-9000).Draw(t, label+" lo")
		for pos := range 9000 {
			if pos%holes != 0 {
				s.Add(uint16(lo + pos))
			}
		}
	}
	return s, collect(s)
}

func members(list []uint16) *[MaxPositions]bool {
	var m [MaxPositions]bool
	for _, pos := range list {
		m[pos] = true
	}
	return &m
}

// Every operation agrees with the definition, and none changes what it takes.
func TestSetOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, as := drawSet(t, "a")
		b, bs := drawSet(t, "b")
		inA, inB := members(as), members(bs)
		all := slices.Concat(as, bs)
		slices.Sort(all)
		all = slices.Compact(all)
		lo, hi := rapid.IntRange(-1, MaxPositions+1).Draw(t, "lo"), rapid.IntRange(-1, MaxPositions+1).Draw(t, "hi")
		for _, c := range []struct {
			name string
			got  Set
			in   func(pos uint16) bool
		}{
			{"or", a.Or(b), func(pos uint16) bool { return inA[pos] || inB[pos] }},
			{"and", a.And(b), func(pos uint16) bool { return inA[pos] && inB[pos] }},
			{"and not", a.AndNot(b), func(pos uint16) bool { return inA[pos] && !inB[pos] }},
			{"keep range", a.KeepRange(lo, hi), func(pos uint16) bool { return inA[pos] && lo <= int(pos) && int(pos) < hi }},
			{"union", Union(Set{}, a, b, a, b), func(pos uint16) bool { return inA[pos] || inB[pos] }},
		} {
			var want []uint16
			for _, pos := range all {
				if c.in(pos) {
					want = append(want, pos)
				}
			}
			if !slices.Equal(collect(c.got), want) || c.got.Len() != len(want) || c.got.Empty() != (len(want) == 0) {
				t.Fatalf("%s: %d positions, want %d", c.name, c.got.Len(), len(want))
			}
			if (c.got.bits != nil) != (len(want) > arrayMax) {
				t.Fatalf("%s: %d positions are in the wrong form", c.name, len(want))
			}
		}
		if !slices.Equal(collect(a), as) || !slices.Equal(collect(b), bs) {
			t.Fatal("an operation changed what it took")
		}
	})
}

func TestSetIteration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, list := drawSet(t, "set")
		if !slices.IsSorted(list) || len(list) != s.Len() {
			t.Fatal("not in order")
		}
		back := slices.Collect(s.Backward())
		slices.Reverse(back)
		if !slices.Equal(back, list) {
			t.Fatal("backwards it is another set")
		}
		from := rapid.IntRange(-2, MaxPositions+2).Draw(t, "from")
		i := 0
		for i < len(list) && int(list[i]) < from {
			i++
		}
		if got, ok := s.Next(from); ok != (i < len(list)) || ok && got != list[i] {
			t.Fatalf("next of %d is %d, %v", from, got, ok)
		}
		if i < len(list) && int(list[i]) == from {
			if !s.Contains(uint16(from)) {
				t.Fatalf("%d is not in it", from)
			}
			i++
		} else if from >= 0 && from < MaxPositions && s.Contains(uint16(from)) {
			t.Fatalf("%d is in it", from)
		}
		if got, ok := s.Prev(from); ok != (i > 0) || ok && got != list[i-1] {
			t.Fatalf("prev of %d is %d, %v", from, got, ok)
		}
		n := 0
		for range s.All() {
			if n++; n == 3 {
				break
			}
		}
	})
}

func TestSetRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, want := drawSet(t, "set")
		b := s.AppendBinary([]byte("x"))
		if len(b)-1 > maxSetBytes {
			t.Fatalf("%d bytes", len(b)-1)
		}
		got, err := ParseSet(b[1:])
		if err != nil || !slices.Equal(collect(got), want) {
			t.Fatalf("%d positions, want %d: %v", got.Len(), len(want), err)
		}
	})
}

func TestSetGolden(t *testing.T) {
	var some Set
	for _, pos := range []uint16{0, 1, 300, 65535} {
		some.Add(pos)
	}
	for _, c := range []struct {
		set  Set
		want string
	}{
		{Set{}, "00"},
		{some, "000001ab02d3fd03"},
		{RangeSet(2, 100), "01fcffffffffffffffffffffff0f000000"},
	} {
		if got := hex.EncodeToString(c.set.AppendBinary(nil)); got != c.want {
			t.Errorf("%v: %s, want %s", collect(c.set), got, c.want)
		}
	}
}

func TestParseSetRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": {}, "unknown form": {9}, "gap of 0": {0, 1, 0}, "beyond the end": {0, 0xff, 0xff, 3, 1},
		"huge gap": {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "half a varint": {0, 0x80},
		"half a word": {1, 1, 2}, "no bits": {1}, "too many bits": append([]byte{1}, make([]byte, MaxPositions/8+8)...),
	} {
		if _, err := ParseSet(b); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte{0})
	f.Add(RangeSet(3, 9000).AppendBinary(nil))
	f.Add([]byte{0, 1, 2, 3, 0x80, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSet(b)
		if err != nil {
			return
		}
		again, err := ParseSet(s.AppendBinary(nil))
		if err != nil || !slices.Equal(collect(s), collect(again)) {
			t.Fatalf("%d positions became %d: %v", s.Len(), again.Len(), err)
		}
	})
}

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes that differ from the %d of the file", name, len(got), len(want))
	}
}
