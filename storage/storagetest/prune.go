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
	"PruneIsExact":     testPruneIsExact,
	"PruneEverything":  testPruneEverything,
	"PruneLargeBodies": testPruneLargeBodies,
}

// prune calls Prune and checks how many events were removed.
func (f *fixture) prune(before time.Time, want int) {
	f.Helper()
	n, err := f.s.Prune(f.Context(), before)
	if f.must(err); n != want {
		f.Fatalf("pruned %d events, want %d", n, want)
	}
}

// kept checks that the log holds exactly these events.
func (f *fixture) kept(events []*event.Event) {
	f.Helper()
	b := f.bounds()
	if len(events) == 0 {
		if b.First <= b.Last {
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
			e.LoggedAt = e.ReceivedAt
		}
		f.commit(batch...)
		events = append(events, batch...)
	}
	gone := 0
	for _, cut := range []int{0, 100, 1000, 1001, 4200, 5999} {
		f.prune(events[cut].LoggedAt, cut-gone)
		gone = cut
		f.kept(events[cut:])
		for _, e := range events[max(0, cut-3):cut] {
			_, err := f.s.Get(t.Context(), e.Seq)
			f.wantErr(err, storage.ErrNotFound)
		}
		if cut == 1001 {
			f.reopen()
			f.kept(events[cut:])
		}
		f.commitDuplicates(events[cut:])
	}
	// Their dedup keys went with them.
	for _, e := range []*event.Event{resend(events[10]), resend(events[5998])} {
		out, err := f.s.Prepare(t.Context(), e)
		if f.must(err); out.Duplicate {
			t.Fatalf("a pruned event is known: %+v", out)
		}
		if out := f.commit(e); out[0].Duplicate || e.PayloadMismatch || e.Seq <= events[5999].Seq {
			t.Fatalf("a pruned event came again: %+v", out[0])
		}
	}
}

// The floor is after the last expired event, wherever that is in its batch and
// whatever comes before it. The time of receipt does not matter.
func testPruneIsExact(t *testing.T, open Opener) {
	f := start(t, open)
	logged := []int{10, 50, 11, 12, 2000, 13, 14, 40, 15, 60, 30, 61} // minutes; the clock was ahead, once by much
	events := f.events(len(logged), func(i int, e *event.Event) {
		e.LoggedAt = epoch.Add(time.Duration(logged[i]) * time.Minute)
		e.ReceivedAt = epoch.Add(-time.Duration(i) * time.Hour)
	})
	f.commit(events[:5]...)
	f.commit(events[5:11]...)
	f.commit(events[11:]...)
	at := func(minute int) time.Time { return epoch.Add(time.Duration(minute) * time.Minute) }
	f.prune(at(10), 0) // before means before
	f.kept(events)
	f.prune(at(10).Add(1), 1)
	f.kept(events[1:])
	f.prune(at(15), 6) // through the 14, over the 2000 and the 50
	f.kept(events[7:])
	f.reopen()
	f.kept(events[7:])
	f.prune(at(14), 0) // a floor never goes back
	f.kept(events[7:])
	f.prune(at(31), 4)
	f.kept(events[11:])
	f.commitDuplicates(events[11:])
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
		f.kept(events)
		f.prune(f.gen.now.Add(time.Hour), 300)
		f.kept(nil)
		if round == 1 {
			f.reopen()
			f.kept(nil)
		}
	}
}

func testPruneLargeBodies(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(4, func(i int, e *event.Event) { e.Body = Filler(uint64(i), 3<<20) })
	for i, e := range events {
		c := *e
		if i%2 == 0 {
			_, err := f.s.Prepare(t.Context(), &c)
			f.must(err)
		}
		f.commit(&c)
		e.Seq = c.Seq
	}
	f.prune(events[2].LoggedAt, 2)
	for range 2 {
		f.sameAll(f.scan(0, math.MaxUint64), events[2:])
		for _, e := range events[2:] {
			f.same(f.get(e.Seq), e)
		}
		_, err := f.s.Get(t.Context(), events[0].Seq)
		f.wantErr(err, storage.ErrNotFound)
		f.reopen()
	}
}
