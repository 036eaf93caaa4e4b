package storagetest

import (
	"context"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

var logTests = map[string]func(*testing.T, Opener){
	"Empty":          testEmpty,
	"CommitAndRead":  testCommitAndRead,
	"ScanStops":      testScanStops,
	"LargeMetas":     testLargeMetas,
	"OddValues":      testOddValues,
	"Reopen":         testReopen,
	"Closed":         testClosed,
	"CloseWhileBusy": testCloseWhileBusy,
	"Cancelled":      testCancelled,
}

func testEmpty(t *testing.T, open Opener) {
	f := start(t, open)
	if b := f.bounds(); b.First != 0 || b.Last != 0 || len(b.Skipped) != 0 {
		t.Fatalf("bounds of an empty log: %+v", b)
	}
	f.must(f.s.Writable())
	_, err := f.s.Get(t.Context(), 1)
	f.wantErr(err, storage.ErrNotFound)
	_, err = f.s.Get(t.Context(), 0)
	f.wantErr(err, storage.ErrNotFound)
	if got := f.scan(0, math.MaxUint64); len(got) != 0 {
		t.Fatalf("scan of an empty log: %v", seqs(got))
	}
	if got := f.list(storage.Query{Limit: 10}); len(got) != 0 {
		t.Fatalf("query of an empty log: %v", seqs(got))
	}
	if out := f.commit(); len(out) != 0 {
		t.Fatalf("outcomes of an empty batch: %v", out)
	}
	n, err := f.s.Prune(t.Context(), epoch)
	if f.must(err); n != 0 {
		t.Fatalf("prune of an empty log: %d", n)
	}
	if h := f.s.Health(); len(h.Damaged) != 0 || len(h.Rebuilding) != 0 {
		t.Fatalf("health of an empty log: %+v", h)
	}
}

func testCommitAndRead(t *testing.T, open Opener) {
	f := start(t, open)
	var want []*event.Event
	for _, n := range []int{1, 2, 64, 1, 300, 17} {
		batch := f.events(n, nil)
		for i, o := range f.commit(batch...) {
			if o.Duplicate || o.Seq == 0 || o.Seq != batch[i].Seq || batch[i].PayloadMismatch {
				t.Fatalf("outcome %+v of event %+v", o, batch[i])
			}
			if len(want) > 0 && o.Seq <= want[len(want)-1].Seq {
				t.Fatalf("sequence went from %d to %d", want[len(want)-1].Seq, o.Seq)
			}
			want = append(want, batch[i])
		}
	}
	check := func() {
		t.Helper()
		if b := f.bounds(); b.First != want[0].Seq || b.Last != want[len(want)-1].Seq {
			t.Fatalf("bounds %+v", b)
		}
		f.sameAll(f.scan(0, math.MaxUint64), want)
		for _, e := range want {
			got := f.get(e.Seq)
			if got.Body == nil {
				t.Fatal("no body")
			}
			f.same(got, e)
		}
		_, err := f.s.Get(t.Context(), want[len(want)-1].Seq+1)
		f.wantErr(err, storage.ErrNotFound)
		for _, cut := range [][2]int{{0, 1}, {3, 70}, {100, 384}, {384, 384}, {10, 5}} {
			after, through := want[cut[0]].Seq, want[cut[1]].Seq
			f.sameAll(f.scan(after, through), want[min(cut[0], cut[1])+1:][:max(0, cut[1]-cut[0])])
		}
	}
	check()
	f.reopen()
	check()
}

func testScanStops(t *testing.T, open Opener) {
	f := start(t, open)
	f.commit(f.events(50, nil)...)
	n := 0
	f.must(f.s.Scan(t.Context(), 0, math.MaxUint64, func(e *event.Event) bool {
		n++
		// What a scan calls may use the store.
		_, err := f.s.Get(t.Context(), e.Seq)
		f.must(err)
		if e.Body != nil {
			t.Error("scan reads bodies")
		}
		return n < 7
	}))
	if n != 7 {
		t.Fatalf("scan went on for %d events", n)
	}
}

func testLargeMetas(t *testing.T, open Opener) {
	f := start(t, open)
	batch := f.events(12, func(i int, e *event.Event) { e.ErrorMessage = string(Filler(uint64(i), i*40<<10)) })
	f.commit(batch...)
	alone := f.events(1, func(_ int, e *event.Event) { e.ErrorMessage = string(Filler(1, 1500<<10)) })
	f.commit(alone...)
	batch = append(batch, alone...)
	f.sameAll(f.scan(0, math.MaxUint64), batch)
	for _, e := range batch {
		f.same(f.get(e.Seq), e)
	}
	f.sameAll(f.list(storage.Query{Limit: 5}), reversed(batch))
}

// oddValues are values that are difficult to encode in keys.
var oddValues = []string{
	"", "a", "A", "\x00", "\x00\x00", "\xff\xff", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff", "ключ", "🧪 agents", "a\x00b", "\xed\xa0\x80",
	strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("x", 256), strings.Repeat("x", 257), strings.Repeat("x", 257) + "y",
	strings.Repeat("\x00", 300), strings.Repeat("長い名前", 5000),
}

func testOddValues(t *testing.T, open Opener) {
	f := start(t, open)
	var want []*event.Event
	for _, v := range oddValues {
		for field := range 4 {
			want = append(want, f.events(1, func(_ int, e *event.Event) {
				*[]*string{&e.WorkspaceID, &e.Source, &e.WorkflowID, &e.AgentID}[field] = v
			})...)
		}
	}
	f.commit(want...)
	for _, v := range oddValues {
		for i, filter := range []event.Filter{{WorkspaceID: v}, {Sources: []string{v}}, {WorkflowIDs: []string{v}}, {AgentIDs: []string{v}}} {
			if v == "" && i == 0 {
				continue // all workspaces
			}
			f.sameAll(f.list(storage.Query{Filter: filter, Limit: 3}), reversed(selected(want, filter)))
		}
	}
	f.reopen()
	for _, e := range want {
		f.same(f.get(e.Seq), e)
	}
	f.commitDuplicates(want)
}

// commitDuplicates commits copies of events that the log holds.
func (f *fixture) commitDuplicates(originals []*event.Event) {
	f.Helper()
	copies := make([]*event.Event, len(originals))
	for i, e := range originals {
		copies[i] = resend(e)
	}
	before := f.bounds()
	for i, o := range f.commitAll(copies) {
		if !o.Duplicate || o.Seq != originals[i].Seq {
			f.Fatalf("copy of %d: %+v", originals[i].Seq, o)
		}
	}
	if after := f.bounds(); !reflect.DeepEqual(after, before) {
		f.Fatalf("duplicates moved the log from %+v to %+v", before, after)
	}
}

// resend returns the event as it arrives a second time.
func resend(e *event.Event) *event.Event {
	c := *e
	c.Seq, c.PayloadMismatch, c.BodyRef = 0, false, ""
	c.ReceivedAt, c.LoggedAt = e.ReceivedAt.Add(time.Hour), e.LoggedAt.Add(time.Hour)
	return &c
}

func testReopen(t *testing.T, open Opener) {
	f := start(t, open)
	var all []*event.Event
	for range 6 {
		batch := f.events(40, nil)
		f.commit(batch...)
		all = append(all, batch...)
		f.reopen()
		f.sameAll(f.scan(0, math.MaxUint64), all)
	}
	f.sameAll(f.list(storage.Query{Limit: 7}), reversed(all))
	f.sameAll(f.list(storage.Query{Limit: 7, Ascending: true}), all)
}

func testClosed(t *testing.T, open Opener) {
	f := start(t, open)
	f.commit(f.events(3, nil)...)
	f.must(f.s.Close())
	f.must(f.s.Close())
	ctx := t.Context()
	_, commit := f.s.CommitBatch(ctx, f.events(1, nil))
	_, bounds := f.s.Bounds(ctx)
	_, get := f.s.Get(ctx, 1)
	_, query := f.s.Query(ctx, storage.Query{Limit: 1})
	p := storage.Projection{Name: "p", Version: 1}
	_, prepare := f.s.Prepare(ctx, f.events(1, nil)[0])
	_, follow := f.s.Follow(ctx, 0)
	_, cursor := f.s.OpenProjection(ctx, p)
	_, _, record := f.s.GetRecord(ctx, p, "k")
	_, _, records := f.s.ListRecords(ctx, p, "", "", 1)
	_, prune := f.s.Prune(ctx, epoch)
	_, getDoc := f.s.GetDocument(ctx, "c", "k")
	_, put := f.s.PutDocument(ctx, storage.Document{Collection: "c", Key: "k"})
	_, list := f.s.ListDocuments(ctx, "c", "", "", 1)
	_, backup := f.s.Backup(ctx, &strings.Builder{}, "")
	_, usage := f.s.Usage(ctx)
	for i, err := range []error{
		commit, bounds, get, query, prepare, follow, cursor, record, records, prune, getDoc, put, list, backup, usage, f.s.Writable(),
		f.s.Scan(ctx, 0, 1, func(*event.Event) bool { return true }), f.s.Project(ctx, storage.Step{Projection: p}), f.s.DropProjection(ctx, p),
		f.s.DeleteDocument(ctx, "c", "k", 1),
	} {
		if f.wantErr(err, storage.ErrClosed); err == nil {
			t.Fatal(i)
		}
	}
	f.s = f.opened()
}

func testCloseWhileBusy(t *testing.T, open Opener) {
	f := start(t, open)
	batch := f.events(64, func(_ int, e *event.Event) { e.WorkspaceID = "busy" })
	f.commit(batch...)
	var busy sync.WaitGroup
	ready := make(chan struct{}, 5)
	work := func(fn func() error) {
		busy.Go(func() {
			for n := 0; ; n++ {
				err := fn()
				if n == 3 {
					ready <- struct{}{}
				}
				if err != nil {
					f.wantClosed(err)
					return
				}
			}
		})
	}
	ctx := t.Context()
	work(func() error { _, err := f.s.Get(ctx, batch[7].Seq); return err })
	work(func() error { return f.s.Scan(ctx, 0, math.MaxUint64, func(*event.Event) bool { return true }) })
	work(func() error { _, err := f.s.Query(ctx, storage.Query{Limit: 20}); return err })
	work(func() error {
		_, err := f.s.PutDocument(ctx, storage.Document{Collection: "c", Key: "k", Version: storage.AnyVersion})
		return err
	})
	p := storage.Projection{Name: "p", Version: 1}
	work(func() error {
		cursor, err := f.s.OpenProjection(ctx, p)
		if err != nil {
			return err
		}
		return f.s.Project(ctx, storage.Step{Projection: p, From: cursor, Through: cursor + 1, Records: []storage.Record{{Key: "k", Value: []byte("v")}}})
	})
	for range 5 {
		<-ready
	}
	f.must(f.s.Close())
	busy.Wait()
	f.s = f.opened()
}

// wantClosed may be called from other goroutines.
func (f *fixture) wantClosed(err error) {
	if !strings.Contains(err.Error(), storage.ErrClosed.Error()) {
		f.Errorf("got %v, want %v", err, storage.ErrClosed)
	}
}

func testCancelled(t *testing.T, open Opener) {
	f := start(t, open)
	f.commit(f.events(3, nil)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.s.CommitBatch(ctx, f.events(1, nil))
	f.wantErr(err, context.Canceled)
	_, err = f.s.Get(ctx, 1)
	f.wantErr(err, context.Canceled)
	f.wantErr(f.s.Scan(ctx, 0, 3, func(*event.Event) bool { return true }), context.Canceled)
	if b := f.bounds(); b.Last-b.First != 2 {
		t.Fatalf("a cancelled commit wrote: %+v", b)
	}
}
