package index

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

// counted counts the reads of a file, and fails them where err is set.
type counted struct {
	r     io.ReaderAt
	reads int
	err   error
}

func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	if c.reads++; c.err != nil {
		return 0, c.err
	}
	return c.r.ReadAt(b, off)
}

func writeTable(t testing.TB, m *MemTable, salt uint64) []byte {
	t.Helper()
	var buf bytes.Buffer
	n, err := m.Write(&buf, salt)
	if err != nil || n != int64(buf.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, buf.Len(), err)
	}
	return buf.Bytes()
}

func openTable(t testing.TB, b []byte) *Reader {
	t.Helper()
	r, err := OpenReader(bytes.NewReader(b), 0, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// distributions of hashes, even as they are and as odd as they could be.
func distributions(n int) map[string][]uint64 {
	rng := rand.New(rand.NewPCG(3, 4))
	out := map[string][]uint64{"none": nil, "one": {17}, "ends": {0, math.MaxUint64}}
	for i := range n {
		out["even"] = append(out["even"], rng.Uint64())
		out["low"] = append(out["low"], uint64(i))
		out["high"] = append(out["high"], math.MaxUint64-uint64(i))
		out["doubling"] = append(out["doubling"], 1<<(i%64)+uint64(i))
		out["clusters"] = append(out["clusters"], uint64(i%3)<<62+rng.Uint64N(1<<20))
	}
	return out
}

// What was written is found, and nothing else, however hashes are spread.
func TestReaderAgreesWithMem(t *testing.T) {
	for name, hashes := range distributions(9000) {
		t.Run(name, func(t *testing.T) {
			m := NewMemTable()
			for i, h := range hashes {
				m.Add(h, uint16(i))
			}
			for i, h := range hashes { // some have many
				if i%900 == 0 {
					for pos := range 5000 {
						m.Add(h, uint16(10_000+pos*(1+i%7)))
					}
				}
			}
			r := openTable(t, writeTable(t, m, 99))
			if r.Len() != m.Len() || r.Salt() != 99 {
				t.Fatalf("%d hashes, want %d", r.Len(), m.Len())
			}
			for _, h := range hashes {
				if !slices.Equal(collect(get(t, r, h)), collect(get(t, m, h))) {
					t.Fatalf("hash %x differs", h)
				}
				for _, other := range []uint64{h - 1, h + 1, h ^ 1<<40} {
					if get(t, r, other).Len() != get(t, m, other).Len() {
						t.Fatalf("hash %x differs", other)
					}
				}
			}
			var a, b []uint64
			_ = m.Hashes(func(h uint64) bool { a = append(a, h); return true })
			if err := r.Hashes(func(h uint64) bool { b = append(b, h); return true }); err != nil || !slices.Equal(a, b) {
				t.Fatalf("%d hashes listed, want %d: %v", len(b), len(a), err)
			}
		})
	}
}

// A look-up reads about once, in the largest table too.
func TestReaderReadsAboutOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{500, MaxPositions, 9 * MaxPositions} {
		m, hashes := NewMemTable(), make([]uint64, n)
		for i := range hashes {
			hashes[i] = rng.Uint64()
			m.Add(hashes[i], uint16(i))
		}
		b := writeTable(t, m, 1)
		file := &counted{r: bytes.NewReader(b)}
		r, err := OpenReader(file, 0, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		file.reads = 0
		const asked = 4000
		for range asked / 2 {
			get(t, r, hashes[rng.IntN(n)])
			get(t, r, rng.Uint64())
		}
		if mean := float64(file.reads) / asked; mean > 1.6 {
			t.Errorf("%d hashes: %.2f reads a look-up", n, mean)
		} else {
			t.Logf("%d hashes: %.2f reads a look-up", n, mean)
		}
	}
}

func TestReaderIsSafeForSeveral(t *testing.T) {
	m := NewMemTable()
	for pos := range 3000 {
		m.Add(Seed(1).Term(term(pos%700)), uint16(pos))
	}
	r := openTable(t, writeTable(t, m, 1))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 700 {
				if s, _, err := r.Get(Seed(1).Term(term(i))); err != nil || !s.Contains(uint16(i)) {
					t.Errorf("term %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// No byte of a table can change unnoticed.
func TestReaderNoticesDamage(t *testing.T) {
	m := NewMemTable()
	for pos := range 2000 {
		m.Add(Seed(1).Term(term(pos)), uint16(pos))
		m.Add(Seed(1).Term(term(-pos%9)), uint16(pos))
	}
	b := writeTable(t, m, 1)
	rng := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		at := rng.IntN(len(b))
		bad := slices.Clone(b)
		bad[at] ^= byte(1 + rng.IntN(255))
		r, err := OpenReader(bytes.NewReader(bad), 0, int64(len(bad)))
		if err == nil {
			err = r.Hashes(func(h uint64) bool {
				_, _, e := r.Get(h)
				return e == nil
			})
			for i := range 9 {
				if err == nil {
					_, _, err = r.Get(Seed(1).Term(term(-i)))
				}
			}
		}
		if !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrFormat) {
			t.Fatalf("byte %d of %d: %v", at, len(b), err)
		}
	}
	for size := range len(b) {
		if _, err := OpenReader(bytes.NewReader(b[:size]), 0, int64(size)); err == nil {
			t.Fatalf("opened %d of %d bytes", size, len(b))
		}
		if size == 200 {
			break
		}
	}
}

func TestReaderTellsErrorsApart(t *testing.T) {
	m := NewMemTable()
	m.Add(1, 1)
	b := writeTable(t, m, 1)
	for err, damaged := range map[error]bool{syscall.EIO: true, io.ErrUnexpectedEOF: true, fs.ErrClosed: false} {
		_, got := OpenReader(&counted{r: bytes.NewReader(b), err: err}, 0, int64(len(b)))
		if errors.Is(got, storage.ErrDamaged) != damaged || (!damaged && !errors.Is(got, err)) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// Tables of the version at hand are as they were, and are read.
func TestTableGolden(t *testing.T) {
	m := NewMemTable()
	for pos := range 400 {
		m.Add(Seed(5).Term(term(pos)), uint16(pos))
	}
	for pos := range 5000 {
		m.Add(Seed(5).Term(term(pos%3-3)), uint16(pos*13))
	}
	b := writeTable(t, m, 0x0123456789abcdef)
	golden(t, "table.v1", b)
	r := openTable(t, b)
	if s := get(t, r, Seed(5).Term(term(-3))); s.Len() != 1667 {
		t.Fatal(s.Len())
	}
}

func FuzzReader(f *testing.F) {
	m := NewMemTable()
	for pos := range 30 {
		m.Add(Seed(1).Term(term(pos)), uint16(pos))
		m.Add(3, uint16(100*pos))
	}
	good := writeTable(f, m, 1)
	f.Add(good, uint64(3), 17)
	f.Add(good[:100], uint64(1), 0)
	// Checksums are made right first, so that the fuzzer gets past them.
	f.Fuzz(func(t *testing.T, b []byte, hash uint64, seed int) {
		fixTable(b)
		r, err := OpenReader(bytes.NewReader(b), 0, int64(len(b)))
		if err != nil {
			return
		}
		n := 0
		_ = r.Hashes(func(h uint64) bool {
			if n++; n < 50 {
				_, _, _ = r.Get(h)
			}
			return true
		})
		_, _, _ = r.Get(hash)
		_, _, _ = r.Get(0)
		_, _, _ = r.Get(math.MaxUint64)
	})
}

func BenchmarkReaderGet(b *testing.B) {
	m := NewMemTable()
	for i, e := range generate(MaxPositions) {
		m.Add(Seed(1).Key(e), uint16(i))
	}
	r := openTable(b, writeTable(b, m, 1))
	rng := rand.New(rand.NewPCG(9, 9))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Get(rng.Uint64()); err != nil {
			b.Fatal(err)
		}
	}
}
