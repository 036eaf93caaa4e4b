package storagetest

import (
	"errors"
	"math"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

// testTwoHandles opens one store twice, as two processes would. An engine may
// refuse that with storage.ErrLocked.
func testTwoHandles(t *testing.T, open Opener) {
	f := start(t, open)
	other, err := open(t, f.dir)
	if err != nil {
		f.wantErr(err, storage.ErrLocked)
		return
	}
	g := &fixture{T: t, open: open, dir: f.dir, s: other, gen: NewGenerator(2, epoch)}
	defer func() { f.must(g.s.Close()) }()

	// What one commits the other has, in one order.
	a, b := f.events(10, nil), g.events(10, nil)
	all := a[:0:0]
	for i := range a {
		f.commit(a[i]) // checks what came before
		g.commit(b[i])
		all = append(all, a[i], b[i])
	}
	for _, h := range []*fixture{f, g} {
		h.sameAll(h.scan(0, math.MaxUint64), all)
		h.sameAll(h.list(storage.Query{Limit: 7}), reversed(all))
		h.commitDuplicates(all)
		for _, e := range all {
			h.same(h.get(e.Seq), e)
			if out, err := h.s.Prepare(t.Context(), resend(e)); err != nil || out != (storage.Outcome{Seq: e.Seq, Duplicate: true}) {
				t.Fatalf("prepared %+v, %v, original %d", out, err, e.Seq)
			}
		}
	}

	// Who follows one hears of the other.
	heard := make(chan uint64, 1)
	last := f.bounds().Last
	go func() {
		head, err := f.s.Follow(t.Context(), last)
		if err != nil {
			head = 0
		}
		heard <- head
	}()
	next := g.events(1, nil)[0]
	g.commit(next)
	if head := <-heard; head != next.Seq {
		t.Fatalf("the follower heard of %d, want %d", head, next.Seq)
	}

	// The cursor of a projection is its fence.
	p := storage.Projection{Name: "p", Version: 1}
	f.openProjection(p)
	g.openProjection(p)
	f.project(p, 0, 5, rec("k", "f"))
	g.wantErr(g.s.Project(t.Context(), storage.Step{Projection: p, Through: 9, Records: []storage.Record{rec("k", "g")}}), storage.ErrConflict)
	g.record(p, "k", "f", 5)
	g.project(p, 5, 9, rec("k", "g"))
	f.record(p, "k", "g", 9)

	// So is the version of a document.
	version, err := f.s.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "k", Value: []byte("f")})
	f.must(err)
	_, err = g.s.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "k", Value: []byte("g")})
	f.wantErr(err, storage.ErrConflict)
	_, err = g.s.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "k", Value: []byte("g"), Version: version})
	f.must(err)
	if d, err := f.s.GetDocument(t.Context(), "c", "k"); err != nil || string(d.Value) != "g" {
		t.Fatalf("document %+v, %v", d, err)
	}

	// The floor is one.
	f.prune(f.gen.now.Add(math.MaxInt32), len(all)+1)
	g.kept(nil)
	if err := f.s.Close(); err != nil {
		t.Fatal(err)
	}
	g.commit(resend(next))
	if _, err := f.s.Get(t.Context(), 1); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("the handle that was closed: %v", err)
	}
}
