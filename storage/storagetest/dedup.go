package storagetest

import (
	"math"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

var dedupTests = map[string]func(*testing.T, Opener){
	"Duplicates":          testDuplicates,
	"DedupScope":          testDedupScope,
	"PayloadMismatch":     testPayloadMismatch,
	"MismatchInBatch":     testMismatchInBatch,
	"MismatchesArePruned": testMismatchesArePruned,
}

// variant returns an event with the same dedup key and another body.
func variant(e *event.Event, body string) *event.Event {
	c := *e
	c.Seq, c.PayloadMismatch, c.Body = 0, false, []byte(body)
	Seal(&c)
	c.DedupKey = e.DedupKey
	return &c
}

func testDuplicates(t *testing.T, open Opener) {
	f := start(t, open)
	batch := f.events(10, nil)
	f.commit(batch...)
	f.commitDuplicates(batch)
	f.reopen()
	f.commitDuplicates(batch)
	// Old and new in one batch.
	fresh := f.events(2, nil)
	out := f.commit(fresh[0], variant(batch[3], string(batch[3].Body)), fresh[1])
	if out[0].Duplicate || out[2].Duplicate || out[1] != (storage.Outcome{Seq: batch[3].Seq, Duplicate: true}) {
		t.Fatalf("outcomes %+v", out)
	}
	f.sameAll(f.scan(0, math.MaxUint64), append(batch, fresh...))
}

func testDedupScope(t *testing.T, open Opener) {
	f := start(t, open)
	one := f.events(1, nil)[0]
	scopes := [][2]string{{"ws_main", "opal"}, {"ws_main", "ga4"}, {"ws_other", "opal"}, {"ws_mainop", "al"}, {"", "ws_mainopal"}}
	for range 2 {
		f.reopen()
		seen := map[uint64]bool{}
		for _, scope := range scopes {
			c := *one
			c.WorkspaceID, c.Source = scope[0], scope[1]
			out := f.commit(&c)
			if seen[out[0].Seq] || c.PayloadMismatch {
				t.Fatalf("%v shares an event with another scope: %+v", scope, out[0])
			}
			seen[out[0].Seq] = true
		}
	}
	if n := len(f.scan(0, math.MaxUint64)); n != len(scopes) {
		t.Fatalf("%d events, want %d", n, len(scopes))
	}
}

func testPayloadMismatch(t *testing.T, open Opener) {
	f := start(t, open)
	one := f.events(1, nil)[0]
	all := []*event.Event{one}
	f.commit(one)
	for i, body := range []string{`{"v":1}`, `{"v":2}`, `{"v":3}`} {
		v := variant(one, body)
		if out := f.commit(v); out[0].Duplicate || !v.PayloadMismatch {
			t.Fatalf("variant %d: %+v, mismatch %v", i, out[0], v.PayloadMismatch)
		}
		all = append(all, v)
		f.commitDuplicates(all)
		f.reopen()
		f.commitDuplicates(all)
	}
	for _, e := range all {
		f.same(f.get(e.Seq), e)
	}
	if one.PayloadMismatch || f.get(one.Seq).PayloadMismatch {
		t.Fatal("the first of them is no mismatch")
	}
}

func testMismatchInBatch(t *testing.T, open Opener) {
	f := start(t, open)
	one := f.events(1, nil)[0]
	batch := []*event.Event{one, variant(one, "a"), f.gen.Next(), variant(one, "b"), variant(one, "c")}
	f.commit(batch...)
	for i, want := range []bool{false, true, false, true, true} {
		if batch[i].PayloadMismatch != want {
			t.Fatalf("event %d of the batch: mismatch %v", i, batch[i].PayloadMismatch)
		}
	}
	f.sameAll(f.scan(0, math.MaxUint64), batch)
	f.commitDuplicates(batch)
}

// A dedup key is known as long as any event with it is kept.
func testMismatchesArePruned(t *testing.T, open Opener) {
	f := start(t, open)
	one := f.events(1, nil)[0]
	kept := []*event.Event{one, variant(one, "a"), variant(one, "b")}
	for i, e := range kept {
		e.LoggedAt = epoch.Add(time.Duration(i) * time.Hour)
		f.commit(e)
	}
	for i := range kept {
		n, err := f.s.Prune(t.Context(), epoch.Add(time.Duration(i)*time.Hour+time.Minute))
		if f.must(err); n != 1 {
			t.Fatalf("pruned %d events", n)
		}
		f.commitDuplicates(kept[i+1:])
	}
	for i, body := range []string{"b", string(one.Body), "a"} {
		e := variant(one, body)
		if out := f.commit(e); out[0].Duplicate || e.PayloadMismatch != (i > 0) {
			t.Fatalf("after everything was pruned: %+v, mismatch %v", out[0], e.PayloadMismatch)
		}
	}
}
