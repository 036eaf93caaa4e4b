package segment

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
	"github.com/osa-edge/osa-gateway/storage"
)

// Readers, retention and backups run beside the writer and the background, and
// see nothing that is not there.
func TestConcurrent(t *testing.T) {
	l, err := Open(simdisk.New(), "/log", Options{SegmentBytes: 32 << 10, SegmentEvents: 60})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	read := func(what string, fn func() error) {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := fn(); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	read("scan", func() error {
		v := l.View()
		defer v.Close()
		next := v.Floor
		err := v.Scan(ctx, 0, v.Last, func(e *event.Event) bool {
			ok := e.Seq >= next
			next = e.Seq + 1
			return ok
		})
		if err == nil && next != v.Last+1 && l.Floor() == v.Floor {
			t.Errorf("scan ended at %d, last is %d", next, v.Last)
		}
		return err
	})
	read("get", func() error {
		seq := l.Last()
		if seq == 0 {
			return nil
		}
		e, err := l.Get(seq)
		if errors.Is(err, storage.ErrNotFound) && seq < l.Floor() {
			return nil
		}
		if err != nil {
			return err
		}
		found := false
		err = l.Candidates(l.Seed().Key(e), func(s uint64) bool { found = found || s == seq; return true })
		if err == nil && !found && seq >= l.Floor() {
			return errors.New("the newest event is not found by its key")
		}
		return err
	})
	read("query", func() error {
		_, err := l.Query(ctx, storage.Query{Limit: 50, Filter: event.Filter{WorkspaceID: "ws_b", Since: start}})
		return err
	})
	read("export", func() error {
		_, err := l.Export(ctx, io.Discard, 0)
		return err
	})
	read("keys", func() error { return l.Keys(func(uint64) bool { return true }) })
	for i := range 150 {
		if err := l.WaitWritable(ctx); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(batch(l.Next(), 9, 200)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if _, err := l.Prune(start.Add(time.Duration(l.Last()-200) * time.Second)); l.Last() > 200 && err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	readers.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if d := l.Damaged(); len(d) > 0 {
		t.Fatalf("damaged %v", d)
	}
}

// What the background does not get done is no reason to wait.
func TestBusy(t *testing.T) {
	opt := small
	opt.inline, opt.idle = false, true
	f := open(t, simdisk.New(), opt)
	for range 4 {
		f.append(20, 10)
	}
	if err := f.l.Writable(); !errors.Is(err, storage.ErrBusy) {
		f.append(1, 10)
		if err = f.l.Writable(); !errors.Is(err, storage.ErrBusy) {
			t.Fatal(err)
		}
	}
	f.l.runInline()
	f.must(f.l.Writable())
	f.check()
	f.must(f.l.Close())
	if err := f.l.Writable(); !errors.Is(err, storage.ErrClosed) {
		t.Fatal(err)
	}
}

// A View keeps what it holds readable after the log has closed.
func TestViewOutlivesClose(t *testing.T) {
	f := open(t, simdisk.New(), small)
	f.append(5, 100)
	v := f.l.View()
	f.must(f.l.Close())
	e, err := v.Get(3)
	f.must(err)
	f.same(e, f.want[2])
	v.Close()
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(discardFS{simdisk.New()}, "/log", Options{idle: true, SegmentBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	events := batch(1, 64, 1024)
	b.SetBytes(64 * 1024)
	for b.Loop() {
		for i, e := range events {
			e.Seq = l.Next() + uint64(i)
		}
		if err := l.Append(events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/event")
}
