package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// stored is an event as it comes back: what its meta says, and its body or nil.
func stored(t testing.TB, e *event.Event, body bool) *event.Event {
	t.Helper()
	out := new(event.Event)
	if _, err := out.DecodeBinary(e.AppendBinary(nil)); err != nil {
		t.Fatal(err)
	}
	out.Seq = e.Seq
	if body {
		out.Body = e.Body
	}
	return out
}

// Everything that was written is read back, in order and at random.
func TestRoundTrip(t *testing.T) {
	events := generate(testHeader.Base, 3000)
	f, info := write(t, testHeader, events)
	s := openFile(t, f)
	if s.Info() != info || info.Count != len(events) || info.Header != testHeader || info.Last() != 3999 ||
		info.Size != int64(len(f.b)) || info.Footer == 0 {
		t.Fatalf("%+v, written as %+v", s.Info(), info)
	}
	if info.ReceivedMin != events[0].ReceivedAt || info.ReceivedMax != events[2999].ReceivedAt ||
		info.LoggedMin != events[0].LoggedAt || info.LoggedMax != events[2999].LoggedAt {
		t.Fatalf("times of %+v", info)
	}
	n := 0
	err := s.Scan(0, len(events)+5, func(e *event.Event) bool {
		if want := stored(t, events[n], false); !reflect.DeepEqual(e, want) {
			t.Fatalf("event %d is %+v, want %+v", n, e, want)
		}
		n++
		return true
	})
	if err != nil || n != len(events) {
		t.Fatalf("%d events: %v", n, err)
	}
	c := s.Cursor()
	for i := 0; i < len(events); i += 37 {
		pos := i * 7919 % len(events)
		e, err := c.Get(pos)
		if want := stored(t, events[pos], true); err != nil || !reflect.DeepEqual(e, want) {
			t.Fatalf("event %d is %+v, want %+v: %v", pos, e, want, err)
		}
		if body, err := s.Body(pos); err != nil || !bytes.Equal(body, events[pos].Body) {
			t.Fatalf("body %d: %v", pos, err)
		}
		if e, err := s.Event(pos); err != nil || e.Seq != events[pos].Seq || e.Body != nil {
			t.Fatalf("event %d is %+v: %v", pos, e, err)
		}
		if e, err := s.Get(pos); err != nil || !bytes.Equal(e.Body, events[pos].Body) {
			t.Fatalf("event %d is %+v: %v", pos, e, err)
		}
		keys, ok, err := s.Keys().Get(testHeader.Seed.Key(events[pos]))
		if err != nil || !ok || !keys.Contains(uint16(pos)) {
			t.Fatalf("key of %d: %v", pos, err)
		}
	}
	for _, pos := range []int{-1, len(events)} {
		if _, err := c.Event(pos); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("event %d: %v", pos, err)
		}
	}
	n = 0
	if err := s.Scan(10, 20, func(*event.Event) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	if bad, err := s.Verify(t.Context()); err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
}

func TestPositions(t *testing.T) {
	f, _ := write(t, testHeader, generate(testHeader.Base, 10))
	s := openFile(t, f)
	for _, c := range []struct {
		seq   uint64
		pos   int
		exact bool
	}{{0, 0, false}, {999, 0, false}, {1000, 0, true}, {1009, 9, true}, {1010, 10, false}, {1 << 63, 10, false}} {
		if pos, exact := s.Position(c.seq); pos != c.pos || exact != c.exact {
			t.Errorf("%d is at %d, %v", c.seq, pos, exact)
		}
	}
	if s.Seq(3) != 1003 {
		t.Error(s.Seq(3))
	}
}

func TestEmptySegment(t *testing.T) {
	f, info := write(t, testHeader, nil)
	s := openFile(t, f)
	if info.Count != 0 || info.Last() != 999 || s.Info() != info {
		t.Fatalf("%+v", info)
	}
	if err := s.Scan(0, 1, func(*event.Event) bool { t.Fatal("an event"); return false }); err != nil {
		t.Fatal(err)
	}
	if pos, err := s.LoggedBefore(time.Now()); pos != 0 || err != nil {
		t.Fatal(pos, err)
	}
	if !s.PositionsReceived(time.Time{}, time.Time{}).Empty() {
		t.Fatal("positions")
	}
	if _, err := Recover(t.Context(), f, headerSize, 0); err != nil {
		t.Fatal(err)
	}
}

// Bodies of all sizes, those of nothing and those that stand elsewhere among them.
func TestBodiesOfAllSizes(t *testing.T) {
	sizes := rapid.OneOf(rapid.IntRange(1, 3000), rapid.IntRange(1, blockBytes+1), rapid.IntRange(1, 2<<20))
	rapid.Check(t, func(t *rapid.T) {
		events := generate(1, rapid.IntRange(1, 20).Draw(t, "events"))
		for i, e := range events {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				e.Body = []byte{}
			case 1:
				e.Body = bytes.Repeat([]byte{'a'}, sizes.Draw(t, "size"))
			case 2:
				e.Body = storagetest.Filler(uint64(i), min(200<<10, sizes.Draw(t, "size")))
			}
			storagetest.Seal(e)
		}
		f := new(memFile)
		if _, err := Write(f, Header{Base: 1, Salt: 9}, records(events)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(f, int64(len(f.b)))
		if err != nil {
			t.Fatal(err)
		}
		c := s.Cursor()
		for i, e := range events {
			got, err := c.Get(i)
			if err != nil || got.Body == nil || !bytes.Equal(got.Body, e.Body) {
				t.Fatalf("body %d of %d bytes: %v", i, len(e.Body), err)
			}
		}
	})
}

func TestBodiesElsewhere(t *testing.T) {
	events := generate(1, 600)
	var want []string
	for i, e := range events {
		if i%250 == 3 {
			e.Body, e.BodyRef = nil, fmt.Sprintf("%032x", i)
			want = append(want, e.BodyRef)
		}
	}
	f, _ := write(t, Header{Base: 1, Salt: 9}, events)
	s := openFile(t, f)
	if refs, err := s.BodyRefs(); err != nil || !slices.Equal(refs, want) {
		t.Fatal(refs, err)
	}
	at := int(s.trailer.refsOffset())
	f.b[at] ^= 1
	if _, err := s.BodyRefs(); !errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
	f.b[at] ^= 1
	if stored(t, events[3], false).BodyRef == "" {
		return // the codec at hand does not keep it
	}
	if e, err := s.Get(3); err != nil || e.Body != nil || e.BodyRef != want[0] {
		t.Fatal(e, err)
	}
	if body, err := s.Body(3); err != nil || body != nil {
		t.Fatal(body, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	hole := generate(1, 3)
	hole[2].Seq++
	many := func() (*Record, error) { return nil, errors.New("no more") }
	n := 0
	e := &event.Event{}
	tooMany := func() (*Record, error) {
		n++
		e.Seq = uint64(n)
		return &Record{Event: e}, nil
	}
	for name, next := range map[string]func() (*Record, error){
		"a hole": records(hole), "another base": records(generate(2, 1)), "an error": many, "too many": tooMany,
	} {
		if _, err := Write(new(memFile), Header{Base: 1}, next); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if n != index.MaxPositions+1 {
		t.Errorf("%d events were taken", n)
	}
	if _, err := Write(fullDisk{new(memFile)}, Header{Base: 1}, records(generate(1, 300))); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

type fullDisk struct{ *memFile }

func (f fullDisk) WriteAt(b []byte, off int64) (int, error) {
	if off > 1000 {
		return 0, io.ErrShortWrite
	}
	return f.memFile.WriteAt(b, off)
}

func TestReaderIsSafeForSeveral(t *testing.T) {
	events := generate(1, 2000)
	f, _ := write(t, Header{Base: 1}, events)
	s := openFile(t, f)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				pos := (i*g + i*31) % len(events)
				e, err := s.Get(pos)
				if err != nil || !bytes.Equal(e.Body, events[pos].Body) {
					t.Errorf("event %d: %v", pos, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// flaky fails reads while err is set.
type flaky struct {
	io.ReaderAt
	err error
}

func (f *flaky) ReadAt(b []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, off)
}

// An error that is no damage is passed on, and does not stick to a cursor.
func TestCursorReadsAgainAfterAnError(t *testing.T) {
	m, _ := write(t, testHeader, generate(testHeader.Base, 100))
	f := &flaky{ReaderAt: m}
	s, err := Open(f, int64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	c := s.Cursor()
	f.err = fs.ErrClosed
	if _, err := c.Event(1); !errors.Is(err, fs.ErrClosed) || errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
	if _, err := s.LoggedBefore(start.Add(100 * time.Millisecond)); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := BuildIndex(t.Context(), s, 1); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	f.err = nil
	if _, err := c.Event(1); err != nil {
		t.Fatal(err)
	}
}
