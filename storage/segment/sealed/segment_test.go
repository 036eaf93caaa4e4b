package sealed

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// memFile is a file in memory.
type memFile struct{ b []byte }

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(b, f.b[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	if need := int(off) + len(b); need > len(f.b) {
		if need > cap(f.b) {
			f.b = append(make([]byte, 0, 2*need), f.b...)
		}
		f.b = f.b[:need]
	}
	return copy(f.b[off:], b), nil
}

func (f *memFile) Close() error              { return nil }
func (f *memFile) Sync() error               { return nil }
func (f *memFile) Truncate(size int64) error { f.b = f.b[:size]; return nil }
func (f *memFile) Size() (int64, error)      { return int64(len(f.b)), nil }

var testHeader = Header{Base: 1000, Salt: 0x5a17, Seed: 42, PrevLast: 990, PrevSum: 7, Sum: 8}

func generate(base uint64, n int) []*event.Event {
	g := storagetest.NewGenerator(1, start)
	events := make([]*event.Event, n)
	for i := range events {
		events[i] = g.Next()
		events[i].Seq = base + uint64(i)
		events[i].LoggedAt = events[i].ReceivedAt
	}
	return events
}

// records gives out events as a segment does, in a record that is used again.
func records(events []*event.Event) func() (*Record, error) {
	var r Record
	i := 0
	return func() (*Record, error) {
		if i == len(events) {
			return nil, io.EOF
		}
		e := events[i]
		i++
		r = Record{Meta: e.AppendBinary(r.Meta[:0]), Body: e.Body, Event: e}
		return &r, nil
	}
}

func write(t testing.TB, h Header, events []*event.Event) (*memFile, Info) {
	t.Helper()
	f := new(memFile)
	info, err := Write(f, h, records(events))
	if err != nil {
		t.Fatal(err)
	}
	return f, info
}

func openFile(t testing.TB, f *memFile) *Reader {
	t.Helper()
	s, err := Open(f, int64(len(f.b)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The segment that benchmarks read.
var bench = sync.OnceValues(func() (*memFile, []*event.Event) {
	events := generate(1, 65536)
	f := new(memFile)
	if _, err := Write(f, Header{Base: 1, Salt: 3, Seed: 4}, records(events)); err != nil {
		panic(err)
	}
	return f, events
})

var _ disk.File = (*memFile)(nil)
