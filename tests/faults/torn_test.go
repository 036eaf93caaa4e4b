package faults

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestTornTail: what a power cut leaves of the batch that was being written, in
// any state, is cut off at the start, and nothing before it.
//
// A failpoint kills the gateway between the write of a batch and its sync: none of
// its events were acknowledged, and any part of it may be missing on disk. What
// stands there whole is kept, and its senders get it as a duplicate.
func TestTornTail(t *testing.T) {
	rng := random(t)
	damages := []struct {
		name string
		do   func(t *testing.T, rng *rand.Rand, f *os.File, end int64)
	}{
		{"nothing", func(*testing.T, *rand.Rand, *os.File, int64) {}},
		{"garbage after the end", appendGarbage},
		{"what stands before once more after the end", appendAgain},
		{"the end of the last batch not written", zeroLast},
		{"the last batch damaged", damageLast},
		{"the file cut off at its end", truncateFile},
		{"the file cut off before its end", truncateLast},
	}
	r := newRun(t, rng, gateway.Options{Binary: gateway.FailpointBinary(t)})
	for _, d := range damages {
		r.g.Terminate()
		r.g.Setenv("OSA_FAILPOINT", "segment.written=kill:60")
		r.g.Start()
		r.begin()
		select {
		case <-r.g.Exited():
		case <-time.After(time.Minute):
			t.Fatal("no batch was written")
		}
		_ = r.g.WaitExit()
		r.g.Setenv("OSA_FAILPOINT", "")
		f, end := newestLog(t, r.g.Data)
		d.do(t, rng, f, end)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.await(30)
		r.end(d.name)
	}
	r.close()
}

// newestLog opens the unsealed segment that was written to last; end is where its
// data ends. The rest of the file is filled with zeros beforehand, and data ends
// with a body, which is JSON.
func newestLog(t *testing.T, dir string) (*os.File, int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "log", "[0-9]*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no unsealed segment in %s: %v", dir, err)
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

// logHeader is at most what stands before the first batch.
const logHeader = 256

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
	write(t, f, garbage(rng, 1+rng.IntN(5000)), end)
}

// appendAgain writes a part of what stands in the file already, which is no batch
// that follows the last one.
func appendAgain(t *testing.T, rng *rand.Rand, f *os.File, end int64) {
	if end <= logHeader {
		return
	}
	from := rng.Int64N(end - logHeader)
	b := make([]byte, end-from)
	if _, err := f.ReadAt(b, from); err != nil {
		t.Fatal(err)
	}
	write(t, f, b, end)
}

// lastBytes is how much of the last batch is missing: its events are longer.
func lastBytes(rng *rand.Rand, end int64) int64 {
	return max(0, min(end-logHeader, int64(1+rng.IntN(200))))
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

func truncateLast(t *testing.T, rng *rand.Rand, f *os.File, end int64) {
	truncateFile(t, rng, f, end-lastBytes(rng, end))
}
