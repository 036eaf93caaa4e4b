package sealed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
)

func flip(f *memFile, at int64) *memFile {
	bad := &memFile{b: slices.Clone(f.b)}
	bad.b[at] ^= 0x40
	return bad
}

// A damaged block is reported with its events, and the others are read.
func TestDamagedBlock(t *testing.T) {
	events := generate(testHeader.Base, 2000)
	f, _ := write(t, testHeader, events)
	b := openFile(t, f).blocks[3]
	lostRange := storage.Range{First: testHeader.Base + uint64(b.first), Last: testHeader.Base + uint64(b.next()-1)}
	for name, at := range map[string]int64{
		"header": b.off + 9, "times": b.off + 40, "metas": b.off + blockHeaderSize + 30,
	} {
		s := openFile(t, flip(f, at))
		var seen []uint64
		add := func(e *event.Event) bool { seen = append(seen, e.Seq); return true }
		c := s.Cursor()
		err := c.Scan(0, len(events), add)
		var damage *storage.DamageError
		if !errors.As(err, &damage) || !errors.Is(err, storage.ErrDamaged) || damage.Range != lostRange || damage.Where != "00000000000000001000.seg" {
			t.Fatalf("%s: %v", name, err)
		}
		if len(seen) != b.first {
			t.Fatalf("%s: %d events before it, want %d", name, len(seen), b.first)
		}
		if _, err := c.Event(b.first + 5); !errors.As(err, &damage) {
			t.Fatalf("%s: %v", name, err)
		}
		pos, _ := s.Position(damage.Last + 1)
		if err := c.Scan(pos, len(events), add); err != nil || len(seen) != len(events)-int(b.count) {
			t.Fatalf("%s: %d events: %v", name, len(seen), err)
		}
		m, err := BuildIndex(t.Context(), s, 1)
		if err != nil || m.Len() == 0 {
			t.Fatal(err)
		}
		if bad, err := s.Verify(t.Context()); err != nil || !slices.Equal(bad, []storage.Range{lostRange}) {
			t.Fatal(bad, err)
		}
	}
	// Bodies alone: events are listed, and only they cannot be had.
	s := openFile(t, flip(f, b.end()-1))
	if _, err := s.Event(b.first); err != nil {
		t.Fatal(err)
	}
	var damage *storage.DamageError
	if _, err := s.Body(b.first); !errors.As(err, &damage) || damage.Range != lostRange {
		t.Fatal(err)
	}
	if _, err := s.Body(b.first - 1); err != nil {
		t.Fatal(err)
	}
}

// A body that is not the one of the digest is not given out.
func TestBodyIsCheckedAgainstDigest(t *testing.T) {
	events := generate(1, 3)
	events[1].Body = bytes.ToUpper(events[1].Body)
	f, _ := write(t, Header{Base: 1}, events)
	s := openFile(t, f)
	var damage *storage.DamageError
	if _, err := s.Body(1); !errors.As(err, &damage) || damage.Range != (storage.Range{First: 2, Last: 2}) {
		t.Fatal(err)
	}
	if _, err := s.Body(2); err != nil {
		t.Fatal(err)
	}
}

// A byte that changes anywhere is found out, or was of the header that the foot
// repeats.
func TestAnyByte(t *testing.T) {
	events := generate(testHeader.Base, 300)
	f, _ := write(t, testHeader, events)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 150 {
		at := int64(rng.IntN(len(f.b)))
		bad := flip(f, at)
		s, err := Open(bad, int64(len(bad.b)))
		if err != nil {
			if !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrFormat) {
				t.Fatal(err)
			}
			continue
		}
		lost, err := s.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keys := s.Keys().Hashes(func(uint64) bool { return true })
		if len(lost) == 0 && !errors.Is(keys, storage.ErrDamaged) && at >= headerSize {
			t.Fatalf("byte %d of %d changed unnoticed", at, len(f.b))
		}
	}
}

// Without its footer, a segment is read from its blocks.
func TestRecover(t *testing.T) {
	events := generate(testHeader.Base, 2000)
	for i, e := range events {
		if i%500 == 1 {
			e.BodyRef = "ref"
		}
	}
	f, info := write(t, testHeader, events)
	whole := openFile(t, f)
	refs, keys := 0, 0
	if stored(t, events[1], false).BodyRef != "" {
		refs = 4
	}
	_ = whole.Keys().Hashes(func(uint64) bool { keys++; return true })
	last := whole.blocks[len(whole.blocks)-1]
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		count  int
		lost   []int // blocks
	}{
		"foot":                     {func(b []byte) []byte { b[len(b)-5]++; return b }, 0, nil},
		"cut before the footer":    {func(b []byte) []byte { return b[:whole.trailer.table] }, 0, nil},
		"foot and the first block": {func(b []byte) []byte { b[len(b)-5]++; b[headerSize+1]++; return b }, 0, []int{0}},
		"foot and two blocks": {func(b []byte) []byte {
			b[len(b)-5]++
			clear(b[whole.blocks[2].off-50 : whole.blocks[3].off+20])
			return b
		}, 0, []int{2, 3}},
		"table, and header":                      {func(b []byte) []byte { b[whole.trailer.table]++; b[20]++; return b }, 0, nil},
		"cut within the last block, count known": {func(b []byte) []byte { return b[:last.off+100] }, 2000, []int{len(whole.blocks) - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			bad := &memFile{b: c.damage(slices.Clone(f.b))}
			size := int64(len(bad.b))
			if _, err := Open(bad, size); !errors.Is(err, storage.ErrDamaged) {
				t.Fatal(err)
			}
			s, err := Recover(t.Context(), bad, size, c.count)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Info(); got.Header != info.Header || got.Count != info.Count {
				t.Fatalf("%+v", got)
			}
			var want []storage.Range
			gone := make(map[uint64]bool)
			for _, i := range c.lost {
				b := whole.blocks[i]
				for pos := b.first; pos < b.next(); pos++ {
					gone[s.Seq(pos)] = true
				}
				if n := len(want); n > 0 && want[n-1].Last+1 == s.Seq(b.first) {
					want[n-1].Last = s.Seq(b.next() - 1)
				} else {
					want = append(want, storage.Range{First: s.Seq(b.first), Last: s.Seq(b.next() - 1)})
				}
			}
			if got := s.Damaged(); !slices.Equal(got, want) {
				t.Fatalf("lost %v, want %v", got, want)
			}
			for pos, e := range events {
				got, err := s.Event(pos)
				if gone[e.Seq] {
					if !errors.Is(err, storage.ErrDamaged) {
						t.Fatalf("event %d: %v", e.Seq, err)
					}
					continue
				}
				if err != nil || got.DedupKey != e.DedupKey || got.Seq != e.Seq {
					t.Fatalf("event %d: %v", e.Seq, err)
				}
				if set, ok, _ := s.Keys().Get(testHeader.Seed.Key(e)); !ok || !set.Contains(uint16(pos)) {
					t.Fatalf("key of %d", e.Seq)
				}
			}
			if len(gone) == 0 {
				n := 0
				_ = s.Keys().Hashes(func(uint64) bool { n++; return true })
				if got, err := s.BodyRefs(); err != nil || len(got) != refs || n != keys {
					t.Fatalf("%d names, %d keys: %v", len(got), n, err)
				}
			}
		})
	}
	nobody := &memFile{b: slices.Clone(f.b)}
	nobody.b[20]++
	nobody.b[len(nobody.b)-5]++
	if _, err := Recover(t.Context(), nobody, int64(len(nobody.b)), 5); !errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), new(memFile), 0, 5); !errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
}

// A block of another segment, left where the disk once had it, is not taken.
func TestRecoverTakesNoForeignBlocks(t *testing.T) {
	f, _ := write(t, testHeader, generate(testHeader.Base, 600))
	other := testHeader
	other.Salt++
	g, _ := write(t, other, generate(testHeader.Base, 600))
	b := openFile(t, f).blocks[1]
	copy(f.b[b.off:b.end()], g.b[b.off:])
	f.b[len(f.b)-5]++
	s, err := Recover(t.Context(), f, int64(len(f.b)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Damaged(); len(got) != 1 || got[0].First != s.Seq(b.first) {
		t.Fatal(got)
	}
}

func TestSectionIsChecked(t *testing.T) {
	raw := bytes.Repeat([]byte("much the same "), 2000)
	b, good := pack(nil, raw, 1, 64)
	if out, err := good.unpack(nil, b, 1, 64); err != nil || !bytes.Equal(out, raw) || good.packing != packedS2 {
		t.Fatal(err)
	}
	// Checksums are right, and what they are of is not.
	for name, change := range map[string]func(s *section, b []byte){
		"another size":    func(s *section, _ []byte) { s.size++ },
		"not packed":      func(s *section, _ []byte) { s.packing = packedPlain },
		"unknown packing": func(s *section, _ []byte) { s.packing = 7 },
		"no S2":           func(_ *section, b []byte) { clear(b[3:]) },
	} {
		s, bad := good, slices.Clone(b)
		change(&s, bad)
		s.sum = checksum.Salted(1, 64, bad)
		if _, err := s.unpack(nil, bad, 1, 64); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What would unpack to far more than it takes is not packed.
	zeros := make([]byte, 4*maxFreeSize)
	if b, s := pack(nil, zeros, 1, 64); s.packing != packedPlain || len(b) != len(zeros) {
		t.Error(s)
	}
}

func TestOtherVersionsAreRefused(t *testing.T) {
	f, _ := write(t, testHeader, generate(testHeader.Base, 3))
	at := len(f.b) - trailerSize
	f.b[at+8]++
	binary.LittleEndian.PutUint32(f.b[len(f.b)-4:], checksum.Salted(testHeader.Salt, uint64(at), f.b[at:len(f.b)-4]))
	if _, err := Open(f, int64(len(f.b))); !errors.Is(err, storage.ErrFormat) {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), f, int64(len(f.b)), 0); !errors.Is(err, storage.ErrFormat) {
		t.Fatal(err)
	}
}
