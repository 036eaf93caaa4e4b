package badger

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
)

func FuzzParts(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "\xff\xff", strings.Repeat("x", 256), strings.Repeat("x", 257), "ключ"} {
		f.Add(s, "rest", []byte(s))
	}
	f.Fuzz(func(t *testing.T, s, next string, raw []byte) {
		// No part runs into what follows it.
		key := append(appendPart(appendPart(nil, s), next), "tail"...)
		one, rest, err := cutPart(key)
		if err != nil || !bytes.Equal(one, appendPart(nil, s)) {
			t.Fatalf("%q: %q, %v", s, one, err)
		}
		two, rest, err := cutPart(rest)
		if err != nil || !bytes.Equal(two, appendPart(nil, next)) || string(rest) != "tail" {
			t.Fatalf("%q: %q %q, %v", next, two, rest, err)
		}
		// And nothing that is in a file makes it panic or read beyond it.
		if part, rest, err := cutPart(raw); err == nil && len(part)+len(rest) != len(raw) {
			t.Fatalf("%q falls into %q and %q", raw, part, rest)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(byte('g'), "geo_audit", uint64(1), []byte("i"))
	f.Add(byte('W'), strings.Repeat("w", 300), uint64(1)<<63, appendPostingKey(nil, appendTerm(nil, event.Term{Field: 'w', Value: "x"}), 7))
	f.Add(byte(0xff), "\xff\xff", ^uint64(0), documentKey("c", "k"))
	f.Add(byte('t'), "", uint64(0), termsKey(1, 2))
	f.Fuzz(func(t *testing.T, field byte, value string, n uint64, raw []byte) {
		term := appendTerm(nil, event.Term{Field: event.Field(field), Value: value})
		got, bucket, err := parsePostingKey(appendPostingKey(nil, term, n))
		if err != nil || !bytes.Equal(got, term) || bucket != n {
			t.Fatalf("term %q bucket %d: %q, %d, %v", term, n, got, bucket, err)
		}
		if seq, err := parseSeqKey(kindBlock, seqKey(kindBlock, n)); err != nil || seq != n {
			t.Fatalf("seq %d: %d, %v", n, seq, err)
		}
		if bucket, err := parseTermsKey(termsKey(n, 3)); err != nil || bucket != n {
			t.Fatalf("terms of %d: %d, %v", n, bucket, err)
		}
		if key, err := parseDocumentKey(documentKey(value, string(raw))); err != nil || !bytes.Equal(key, raw) {
			t.Fatalf("document %q of %q: %q, %v", raw, value, key, err)
		}
		// What parses is what would be written.
		if term, bucket, err := parsePostingKey(raw); err == nil && !bytes.Equal(appendPostingKey(nil, term, bucket), raw) {
			t.Fatalf("%q was read as %q, %d", raw, term, bucket)
		}
		if digest, seq, err := parseDedupValue(raw); err == nil && !bytes.Equal(appendDedupValue(nil, digest, seq), raw) {
			t.Fatalf("dedup entry %q", raw)
		}
		_, _ = parseSeqKey(kindMarker, raw)
		_, _ = parseTermsKey(raw)
		_, _ = parseDocumentKey(raw)
		_ = eachTerm(raw, func([]byte) error { return nil })
	})
}

// Keys sort as what they stand for does, and different things have different keys.
func TestKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		v, w := rapid.String().Draw(t, "v"), rapid.String().Draw(t, "w")
		if c := bytes.Compare(seqKey(kindBlock, a), seqKey(kindBlock, b)); (c < 0) != (a < b) || (c == 0) != (a == b) {
			t.Fatalf("keys of %d and %d compare %d", a, b, c)
		}
		if (v == w) != bytes.Equal(appendPart(nil, v), appendPart(nil, w)) {
			t.Fatalf("parts of %q and %q", v, w)
		}
		if c := bytes.Compare(documentKey("c", v), documentKey("c", w)); c != strings.Compare(v, w) {
			t.Fatalf("documents %q and %q compare %d", v, w, c)
		}
		x, y := &event.Event{WorkspaceID: v, Source: w}, &event.Event{WorkspaceID: v + w}
		if w != "" && bytes.Equal(appendDedupKey(nil, x), appendDedupKey(nil, y)) {
			t.Fatalf("%q in %q and in %q share a dedup key", w, v, v+w)
		}
	})
}

func drawBitmap(t *rapid.T, label string) (b bitmap, set []uint64) {
	set = rapid.SliceOfDistinct(rapid.Uint64Range(0, bucketSize-1), rapid.ID[uint64]).Draw(t, label)
	if rapid.Bool().Draw(t, label+" dense") {
		for n := range uint64(bucketSize) {
			if n%3 == 0 && !slices.Contains(set, n) {
				set = append(set, n)
			}
		}
	}
	slices.Sort(set)
	for _, n := range set {
		b.set(n)
	}
	return b, set
}

func list(b bitmap, lowest bool) (out []uint64) {
	for {
		n, ok := b.take(lowest)
		if !ok {
			return out
		}
		out = append(out, n)
	}
}

func TestBitmaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, inA := drawBitmap(t, "a")
		b, inB := drawBitmap(t, "b")
		lo, hi := rapid.Uint64Range(0, bucketSize-1).Draw(t, "lo"), rapid.Uint64Range(0, bucketSize-1).Draw(t, "hi")
		check := func(name string, m bitmap, keep func(n uint64) bool) {
			var want []uint64
			for n := range uint64(bucketSize) {
				if keep(n) {
					want = append(want, n)
				}
			}
			if got := list(m, true); !slices.Equal(got, want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
			if m.count() != len(want) || m.empty() != (len(want) == 0) {
				t.Fatalf("%s: count %d, empty %v, want %d", name, m.count(), m.empty(), len(want))
			}
			down := list(m, false)
			if slices.Reverse(down); !slices.Equal(down, want) {
				t.Fatalf("%s downwards: %v, want %v", name, down, want)
			}
			var back bitmap
			if err := back.parse(m.appendTo(nil)); err != nil || back != m {
				t.Fatalf("%s does not survive being written: %v", name, err)
			}
			if n := len(m.appendTo(nil)); n > 1+bucketSize/8+2 {
				t.Fatalf("%s takes %d bytes", name, n)
			}
		}
		hasA := func(n uint64) bool { _, ok := slices.BinarySearch(inA, n); return ok }
		hasB := func(n uint64) bool { _, ok := slices.BinarySearch(inB, n); return ok }
		check("a", a, hasA)
		or, and, part := a, a, a
		or.or(&b)
		and.and(&b)
		part.keep(lo, hi)
		check("or", or, func(n uint64) bool { return hasA(n) || hasB(n) })
		check("and", and, func(n uint64) bool { return hasA(n) && hasB(n) })
		check("keep", part, func(n uint64) bool { return hasA(n) && lo <= n && n <= hi })
	})
}

func FuzzValues(f *testing.F) {
	var b bitmap
	b.set(3)
	s := span{}
	s.add(5, 1)
	var w blockWriter
	w.add([]byte("meta"), []byte("body"))
	w.add(nil, nil, staged{part: stagedBody, id: 9, size: 300 << 10})
	value, _ := w.finish()
	for _, v := range [][]byte{nil, b.appendTo(nil), s.appendTo(nil), value, appendSection(nil, bytes.Repeat([]byte("ab"), 1000)), {postingWords}, {sectionS2, 0xff}} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		var b bitmap
		if b.parse(v) == nil {
			var again bitmap
			if err := again.parse(b.appendTo(nil)); err != nil || again != b {
				t.Fatalf("posting %q: %v", v, err)
			}
		}
		var s span
		_ = s.parse(v)
		var buf []byte
		_, _ = readSection(&buf, v)
		_, _ = readBodies(&buf, v)
		// Past the checksum, damage must still be met with an error.
		if len(v) > blockHeader {
			v = slices.Clone(v)
			binary.BigEndian.PutUint32(v[2:], checksum(v[blockHeader:]))
		}
		var blk block
		if blk.parse(1<<40, v) != nil {
			return
		}
		for i := range blk.count {
			_, _ = blk.span(blk.metas, i, 0)
			_, _ = blk.ref(i, stagedBody)
		}
	})
}

func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w blockWriter
		for round := range 2 { // its buffers are used again
			n := rapid.IntRange(1, 60).Draw(t, "events")
			metas, bodies, refs := make([][]byte, n), make([][]byte, n), make([]staged, n)
			w.reset()
			for i := range n {
				metas[i] = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "meta")
				if rapid.IntRange(0, 9).Draw(t, "staged") == 0 {
					refs[i] = staged{index: i, part: stagedBody, id: rapid.Uint64().Draw(t, "id"), size: rapid.IntRange(1, 1<<30).Draw(t, "size")}
					w.add(metas[i], nil, refs[i])
					continue
				}
				bodies[i] = bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "body"), rapid.IntRange(0, 9).Draw(t, "times"))
				w.add(metas[i], bodies[i])
			}
			value, separate := w.finish()
			var b block
			if err := b.parse(1000, value); err != nil {
				t.Fatal(round, err)
			}
			if b.count != n || b.first != uint64(1001-n) || b.last != 1000 || b.bodiesHere != (separate == nil) {
				t.Fatalf("block %d..%d of %d, bodies here %v", b.first, b.last, b.count, b.bodiesHere)
			}
			var buf []byte
			all, err := readSection(&buf, b.bodies)
			if separate != nil {
				all, err = readBodies(&buf, separate)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				meta, err1 := b.span(b.metas, i, 0)
				body, err2 := b.span(all, i, 1)
				ref, _ := b.ref(i, stagedBody)
				if err1 != nil || err2 != nil || !bytes.Equal(meta, metas[i]) || !bytes.Equal(body, bodies[i]) || ref != refs[i] {
					t.Fatalf("event %d: %q %q %+v %v %v", i, meta, body, ref, err1, err2)
				}
			}
		}
	})
}
