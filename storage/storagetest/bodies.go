package storagetest

import (
	"math"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

var bodyTests = map[string]func(*testing.T, Opener){
	"LargeBodies":         testLargeBodies,
	"LargeBodiesPrepared": testLargeBodiesPrepared,
	"PreparedDuplicates":  testPreparedDuplicates,
	"PreparedAndLeft":     testPreparedAndLeft,
}

// bodySizes are sizes around the limits of engines and of the interface.
var bodySizes = []int{
	0, 1, 700, 200 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 300 << 10, 1 << 20, storage.MaxBatchBytes, storage.MaxBatchBytes + 1, 11 << 20,
}

func (f *fixture) sized() []*event.Event {
	return f.events(len(bodySizes), func(i int, e *event.Event) { e.Body = Filler(uint64(i), bodySizes[i]) })
}

// unchanged checks that the log holds exactly these events with their bodies.
func (f *fixture) unchanged(want []*event.Event) {
	f.Helper()
	for range 2 {
		for _, e := range want {
			got := f.get(e.Seq)
			if string(got.Body) != string(e.Body) {
				f.Fatalf("the body of event %d, of %d bytes, came back as %d others", e.Seq, len(e.Body), len(got.Body))
			}
			f.same(got, e)
		}
		f.sameAll(f.scan(0, math.MaxUint64), want)
		f.reopen()
	}
}

// Bodies of any size are committed without Prepare.
func testLargeBodies(t *testing.T, open Opener) {
	f := start(t, open)
	want := f.sized()
	f.commitAll(want)
	f.commitDuplicates(want)
	many := f.events(21, func(i int, e *event.Event) { e.Body = Filler(uint64(100+i), 200<<10) })
	f.commitAll(many)
	f.unchanged(append(want, many...))
}

func testLargeBodiesPrepared(t *testing.T, open Opener) {
	f := start(t, open)
	want := f.sized()
	prepared := make([]*event.Event, len(want))
	for i, e := range want {
		c := *e
		out, err := f.s.Prepare(t.Context(), &c)
		f.must(err)
		if out.Duplicate || c.Seq != 0 || (c.BodyRef != "") != (c.Body == nil) {
			t.Fatalf("prepared %+v with %d bytes: seq %d, ref %q, body of %d bytes", out, len(e.Body), c.Seq, c.BodyRef, len(c.Body))
		}
		prepared[i] = &c
	}
	for i, o := range f.commitAll(prepared) {
		want[i].Seq = o.Seq
	}
	f.commitDuplicates(want)
	f.unchanged(want)
}

// Prepare finds a duplicate as soon as its original is in the log, and puts no
// body aside for it.
func testPreparedDuplicates(t *testing.T, open Opener) {
	f := start(t, open)
	want := f.sized()
	for range 2 {
		for _, e := range want {
			c := resend(e)
			out, err := f.s.Prepare(t.Context(), c)
			f.must(err)
			if out.Duplicate != (e.Seq != 0) || out.Seq != e.Seq {
				t.Fatalf("prepared %+v, original %d", out, e.Seq)
			}
			if out.Duplicate && (c.BodyRef != "" || len(c.Body) != len(e.Body)) {
				t.Fatalf("a duplicate's body went to %q, %d bytes are left", c.BodyRef, len(c.Body))
			}
		}
		if want[0].Seq == 0 {
			f.commitAll(want)
		}
	}
	f.reopen()
	for _, e := range want {
		if out, err := f.s.Prepare(t.Context(), resend(e)); err != nil || out != (storage.Outcome{Seq: e.Seq, Duplicate: true}) {
			t.Fatalf("opened again, prepared %+v, %v, original %d", out, err, e.Seq)
		}
	}
	// Two that were prepared before either was committed.
	one := f.events(1, func(_ int, e *event.Event) { e.Body = Filler(7, 600<<10) })[0]
	first, second := resend(one), resend(one)
	for _, e := range []*event.Event{first, second} {
		if out, err := f.s.Prepare(t.Context(), e); err != nil || out.Duplicate {
			t.Fatalf("prepared %+v, %v", out, err)
		}
	}
	a, b := f.commit(first), f.commit(second)
	if a[0].Duplicate || b[0] != (storage.Outcome{Seq: a[0].Seq, Duplicate: true}) {
		t.Fatalf("committed %+v and %+v", a[0], b[0])
	}
	if got := f.get(a[0].Seq); string(got.Body) != string(one.Body) {
		t.Fatalf("%d bytes came back, want %d", len(got.Body), len(one.Body))
	}
}

// An event that was prepared and never committed is not in the log.
func testPreparedAndLeft(t *testing.T, open Opener) {
	f := start(t, open)
	want := f.sized()
	for range 2 {
		for _, e := range want {
			_, err := f.s.Prepare(t.Context(), resend(e))
			f.must(err)
		}
		if b := f.bounds(); b.Last != 0 || len(f.scan(0, math.MaxUint64)) != 0 {
			t.Fatalf("bounds %+v", b)
		}
		f.reopen()
	}
	f.commitAll(want)
	for i := range want {
		if _, err := f.s.Prepare(t.Context(), variant(want[i], string(Filler(99, 400<<10)))); err != nil {
			t.Fatal(err)
		}
	}
	f.unchanged(want)
}
