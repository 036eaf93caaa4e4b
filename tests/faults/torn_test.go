package faults

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestTornTail: what a power cut leaves beyond the last synced record, in any
// state of being written, is cut off at the start, and nothing before it.
//
// The load has ended and the indexes have caught up when the gateway is killed,
// so the last thing in the write-ahead log is a step of the projector, which is
// never synced: it may be missing in part, and garbage may follow.
func TestTornTail(t *testing.T) {
	rng := random(t)
	damages := []struct {
		name string
		do   func(t *testing.T, rng *rand.Rand, f *os.File, end int64)
	}{
		{"garbage after the end", appendGarbage},
		{"half a record after the end", appendHalf},
		{"the last record cut off", zeroLast},
		{"the last record damaged", damageLast},
		{"the file cut off", truncateFile},
	}
	r := newRun(t, rng, gateway.Options{})
	for _, d := range damages {
		r.begin()
		r.await(50)
		r.end("load before " + d.name) // its check waits for the projector
		r.g.Kill9()
		f, end := newestWAL(t, r.g.Data)
		d.do(t, rng, f, end)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.check(d.name)
	}
}

// newestWAL opens the newest write-ahead log; end is where its data ends.
func newestWAL(t *testing.T, dir string) (*os.File, int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no write-ahead log in %s: %v", dir, err)
	}
	slices.Sort(files)
	f, err := os.OpenFile(files[len(files)-1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	end := len(raw)
	for end > 0 && raw[end-1] == 0 {
		end--
	}
	return f, int64(end)
}

// walHeader is what stands before the first record.
const walHeader = 20

func write(t *testing.T, f *os.File, b []byte, at int64) {
	t.Helper()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func garbage(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func appendGarbage(t *testing.T, rng *rand.Rand, f *os.File, end int64) {
	// Four zeros may be the end of a checksum.
	write(t, f, garbage(rng, 1+rng.IntN(5000)), end+4)
}

// appendHalf writes the beginning of what stands in the file already.
func appendHalf(t *testing.T, rng *rand.Rand, f *os.File, end int64) {
	if end <= walHeader {
		return
	}
	b := make([]byte, min(end-walHeader, 1+int64(rng.IntN(100))))
	if _, err := f.ReadAt(b, walHeader); err != nil {
		t.Fatal(err)
	}
	write(t, f, b, end)
}

// lastBytes is how much of the last record is damaged: the mark that ends a
// transaction is longer than that.
func lastBytes(rng *rand.Rand, end int64) int64 {
	return max(0, min(end-walHeader, int64(1+rng.IntN(12))))
}

func zeroLast(t *testing.T, rng *rand.Rand, f *os.File, end int64) {
	n := lastBytes(rng, end)
	write(t, f, make([]byte, n), end-n)
}

func damageLast(t *testing.T, rng *rand.Rand, f *os.File, end int64) {
	n := lastBytes(rng, end)
	write(t, f, garbage(rng, int(n)), end-n)
}

// truncateFile: the file's length was not on disk yet.
func truncateFile(t *testing.T, _ *rand.Rand, f *os.File, end int64) {
	if err := f.Truncate(end); err != nil {
		t.Fatal(err)
	}
}
