package storagetest

import (
	"math"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

var pruneTests = map[string]func(*testing.T, Opener){
	"PruneFront":       testPruneFront,
	"PruneEverything":  testPruneEverything,
	"PruneUnprojected": testPruneUnprojected,
	"PruneLimit":       testPruneLimit,
	"PruneLargeBodies": testPruneLargeBodies,
}

// prune calls Prune until it has no more to do and returns how many events went.
func (f *fixture) prune(before time.Time, through uint64, limit int) int {
	f.Helper()
	total := 0
	for {
		n, more, err := f.s.Prune(f.Context(), before, through, limit)
		f.must(err)
		if total += n; !more {
			return total
		}
		if n == 0 {
			f.Fatal("there is more to prune, and nothing was pruned")
		}
	}
}

// kept checks that the log holds exactly events, everywhere that shows it.
func (f *fixture) kept(events []*event.Event) {
	f.Helper()
	b := f.bounds()
	if len(events) == 0 {
		if b.First != b.Last+1 {
			f.Fatalf("bounds of a log that retention emptied: %+v", b)
		}
	} else if b.First != events[0].Seq || b.Last != events[len(events)-1].Seq {
		f.Fatalf("bounds %+v, want %d to %d", b, events[0].Seq, events[len(events)-1].Seq)
	}
	f.sameAll(f.scan(0, math.MaxUint64), events)
	f.expect(events, event.Filter{WorkspaceID: "ws_main"}, 1000)
	f.expect(events, event.Filter{AgentIDs: Agents[:2]}, 300)
}

func testPruneFront(t *testing.T, open Opener) {
	f := start(t, open)
	var events []*event.Event
	for range 30 {
		batch := f.events(200, func(_ int, e *event.Event) {
			e.ReceivedAt, e.Body = epoch.Add(time.Duration(len(events))*time.Minute), []byte("{}")
		})
		for i, e := range batch { // events before this batch, then those in it
			e.ReceivedAt = epoch.Add(time.Duration(len(events)+i) * time.Minute)
		}
		f.commit(batch...)
		events = append(events, batch...)
	}
	f.project(333)
	for _, cut := range []int{0, 100, 1000, 1001, 4200, 5999} {
		f.prune(events[cut].ReceivedAt, math.MaxUint64, 500)
		left := f.bounds().First
		if left > events[cut].Seq {
			t.Fatalf("event %d is younger and went", events[cut].Seq)
		}
		// Engines may keep what stands together with what is kept, up to a batch.
		if events[cut].Seq-left >= 256 {
			t.Fatalf("%d is the first, though everything before %d has expired", left, events[cut].Seq)
		}
		i := int(left - events[0].Seq)
		f.kept(events[i:])
		for _, e := range events[max(0, i-3):i] {
			_, err := f.s.Get(t.Context(), e.Seq)
			f.wantErr(err, storage.ErrNotFound)
		}
		if cut == 1001 {
			f.reopen()
			f.kept(events[i:])
		}
		f.commitDuplicates(events[i:])
	}
	// Their dedup keys went with them.
	again := variant(events[10], string(events[10].Body))
	if out := f.commit(again); out[0].Duplicate || again.PayloadMismatch || again.Seq <= events[5999].Seq {
		t.Fatalf("a pruned event came again: %+v", out[0])
	}
}

func testPruneEverything(t *testing.T, open Opener) {
	f := start(t, open)
	var last uint64
	for round := range 3 {
		events := f.events(300, nil)
		f.commit(events[:150]...)
		f.commit(events[150:]...)
		if events[0].Seq <= last {
			t.Fatalf("seq %d was given out twice", events[0].Seq)
		}
		last = events[299].Seq
		f.project(100)
		f.kept(events)
		if n := f.prune(f.gen.now.Add(time.Hour), math.MaxUint64, 1000); n != 300 {
			t.Fatalf("pruned %d events", n)
		}
		f.kept(nil)
		if round == 1 {
			f.reopen()
			f.kept(nil)
		}
	}
}

func testPruneUnprojected(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(30, nil)
	for _, e := range events {
		f.commit(e)
	}
	later := f.gen.now.Add(time.Hour)
	if n := f.prune(later, math.MaxUint64, 100); n != 0 {
		t.Fatalf("%d events went that nobody had projected", n)
	}
	through := events[19].Seq
	f.must(f.s.Project(t.Context(), storage.Projection{Through: through, Events: f.scan(0, through)}))
	f.prune(later, events[9].Seq, 100)
	if b := f.bounds(); b.First > events[10].Seq {
		t.Fatalf("pruned beyond %d: %+v", events[9].Seq, b)
	}
	f.prune(later, math.MaxUint64, 100)
	if b := f.bounds(); b.First > events[20].Seq {
		t.Fatalf("pruned beyond the projector: %+v", b)
	}
	f.project(100)
	f.expect(f.scan(0, math.MaxUint64), event.Filter{}, 50)
}

func testPruneLimit(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(2000, func(_ int, e *event.Event) { e.Body = []byte("{}") })
	for i := 0; i < len(events); i += 10 {
		f.commit(events[i : i+10]...)
	}
	f.project(500)
	later, total := f.gen.now.Add(time.Hour), 0
	for {
		n, more, err := f.s.Prune(t.Context(), later, math.MaxUint64, 300)
		f.must(err)
		if n > 300+256 {
			t.Fatalf("asked for about 300, pruned %d", n)
		}
		if total += n; !more {
			break
		}
		f.expect(events[total:], event.Filter{AgentIDs: Agents[:1]}, 500)
	}
	if total != len(events) {
		t.Fatalf("pruned %d of %d", total, len(events))
	}
}

func testPruneLargeBodies(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(4, func(i int, e *event.Event) { e.Body = Filler(uint64(i), 3<<20) })
	f.commit(events[:2]...)
	f.commit(events[2:]...)
	f.project(10)
	f.prune(f.gen.now.Add(time.Hour), events[1].Seq, 10)
	f.sameAll(f.scan(0, math.MaxUint64), events[2:])
	for _, e := range events[2:] {
		f.same(f.get(e.Seq), e)
	}
}
