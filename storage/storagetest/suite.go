// Package storagetest is the test suite that every storage engine passes. It
// knows the interface storage.Store and no engine.
package storagetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Opener opens the store in dir, or opens it again. It returns
// storage.ErrLocked if another handle is open and the engine allows only one.
type Opener func(t *testing.T, dir string) (storage.Store, error)

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	for _, group := range []map[string]func(*testing.T, Opener){
		logTests, bodyTests, followTests, dedupTests, queryTests, pruneTests, documentTests, projectionTests,
	} {
		for _, name := range sorted(group) {
			t.Run(name, func(t *testing.T) { group[name](t, open) })
		}
	}
	t.Run("TwoHandles", func(t *testing.T) { testTwoHandles(t, open) })
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is an open store for one test.
type fixture struct {
	*testing.T
	open Opener
	dir  string
	s    storage.Store
	gen  *Generator
}

func start(t *testing.T, open Opener) *fixture {
	t.Helper()
	f := &fixture{T: t, open: open, dir: t.TempDir(), gen: NewGenerator(1, epoch)}
	f.s = f.opened()
	t.Cleanup(func() {
		if err := f.s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

// opened opens the store once more.
func (f *fixture) opened() storage.Store {
	f.Helper()
	s, err := f.open(f.T, f.dir)
	f.must(err)
	return s
}

func (f *fixture) reopen() {
	f.Helper()
	f.must(f.s.Close())
	f.s = f.opened()
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantErr(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

func (f *fixture) commit(batch ...*event.Event) []storage.Outcome {
	f.Helper()
	before := f.bounds().Last
	c, err := f.s.CommitBatch(f.Context(), batch)
	f.must(err)
	if len(c.Outcomes) != len(batch) {
		f.Fatalf("%d outcomes for %d events", len(c.Outcomes), len(batch))
	}
	if c.Before != before {
		f.Fatalf("committed after %d, the last one was %d", c.Before, before)
	}
	return c.Outcomes
}

// commitAll commits events in as many batches as needed.
func (f *fixture) commitAll(events []*event.Event) []storage.Outcome {
	f.Helper()
	var out []storage.Outcome
	for len(events) > 0 {
		n, size := 1, len(events[0].Body)
		for n < min(len(events), storage.MaxBatchEvents) && size+len(events[n].Body) <= storage.MaxBatchBytes {
			size += len(events[n].Body)
			n++
		}
		out = append(out, f.commit(events[:n]...)...)
		events = events[n:]
	}
	return out
}

// events generates n events and calls change for each. LoggedAt is the time of
// receipt unless change sets another.
func (f *fixture) events(n int, change func(i int, e *event.Event)) []*event.Event {
	batch := make([]*event.Event, n)
	for i := range batch {
		batch[i] = f.gen.Next()
		if change != nil {
			logged := batch[i].LoggedAt
			change(i, batch[i])
			if batch[i].LoggedAt.Equal(logged) {
				batch[i].LoggedAt = batch[i].ReceivedAt
			}
			Seal(batch[i])
		}
	}
	return batch
}

func (f *fixture) get(seq uint64) *event.Event {
	f.Helper()
	e, err := f.s.Get(f.Context(), seq)
	f.must(err)
	return e
}

func (f *fixture) bounds() storage.Bounds {
	f.Helper()
	b, err := f.s.Bounds(f.Context())
	f.must(err)
	return b
}

func (f *fixture) scan(after, through uint64) []*event.Event {
	f.Helper()
	var out []*event.Event
	f.must(f.s.Scan(f.Context(), after, through, func(e *event.Event) bool {
		out = append(out, e)
		return true
	}))
	return out
}

// list returns all pages of a query.
func (f *fixture) list(q storage.Query) []*event.Event {
	f.Helper()
	var out []*event.Event
	for pages := 0; ; pages++ {
		page, err := f.s.Query(f.Context(), q)
		f.must(err)
		if len(page.Events) > max(1, q.Limit) {
			f.Fatalf("page of %d events, limit %d", len(page.Events), q.Limit)
		}
		out = append(out, page.Events...)
		if page.Next == 0 {
			return out
		}
		if q.After != 0 && (page.Next == q.After || (page.Next > q.After) != q.Ascending) {
			f.Fatalf("page after %d says that %d is next", q.After, page.Next)
		}
		q.After = page.Next
	}
}

// same compares events, and their bodies if both have one.
func (f *fixture) same(got, want *event.Event) {
	f.Helper()
	g, w := *got, *want
	g.BodyRef, w.BodyRef = "", ""
	if g.Body == nil || w.Body == nil {
		g.Body, w.Body = nil, nil
	}
	if len(g.Body) == 0 && len(w.Body) == 0 {
		g.Body, w.Body = nil, nil
	}
	if !reflect.DeepEqual(g, w) {
		f.Fatalf("event differs\n got %+v\nwant %+v", g.WithoutBody(), w.WithoutBody())
	}
}

func (f *fixture) sameAll(got, want []*event.Event) {
	f.Helper()
	if diff := seqDiff(seqs(got), seqs(want)); diff != "" {
		f.Fatal(diff)
	}
	for i := range got {
		f.same(got[i], want[i])
	}
}

func seqs(events []*event.Event) []uint64 {
	out := make([]uint64, len(events))
	for i, e := range events {
		out[i] = e.Seq
	}
	return out
}

// seqDiff describes the first difference between two lists.
func seqDiff(got, want []uint64) string {
	if slices.Equal(got, want) {
		return ""
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	near := func(s []uint64) []uint64 { return s[max(0, i-3):min(len(s), i+8)] }
	return fmt.Sprintf("got %d events, want %d; from place %d on: %v, want %v", len(got), len(want), i, near(got), near(want))
}

func reversed(events []*event.Event) []*event.Event {
	out := slices.Clone(events)
	slices.Reverse(out)
	return out
}
