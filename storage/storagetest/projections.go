package storagetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

var projectionTests = map[string]func(*testing.T, Opener){
	"Projection":         testProjection,
	"ProjectionConflict": testProjectionConflict,
	"ProjectionVersions": testProjectionVersions,
	"ProjectionDropped":  testProjectionDropped,
	"ProjectionLimits":   testProjectionLimits,
	"ProjectionList":     testProjectionList,
	"ProjectionsApart":   testProjectionsApart,
}

func (f *fixture) project(p storage.Projection, from, through uint64, records ...storage.Record) {
	f.Helper()
	f.must(f.s.Project(f.Context(), storage.Step{Projection: p, From: from, Through: through, Records: records}))
}

func (f *fixture) openProjection(p storage.Projection) uint64 {
	f.Helper()
	cursor, err := f.s.OpenProjection(f.Context(), p)
	f.must(err)
	return cursor
}

// record checks a record and the cursor. want "" means that there is none.
func (f *fixture) record(p storage.Projection, key, want string, cursor uint64) {
	f.Helper()
	value, at, err := f.s.GetRecord(f.Context(), p, key)
	if want == "" {
		f.wantErr(err, storage.ErrNotFound)
	} else {
		f.must(err)
	}
	if string(value) != want || at != cursor {
		f.Fatalf("record %.20q is %.20q at %d, want %.20q at %d", key, value, at, want, cursor)
	}
}

func rec(key, value string) storage.Record { return storage.Record{Key: key, Value: []byte(value)} }

func testProjection(t *testing.T, open Opener) {
	f := start(t, open)
	p := storage.Projection{Name: "p", Version: 1}
	if cursor := f.openProjection(p); cursor != 0 {
		t.Fatalf("a new projection stands at %d", cursor)
	}
	f.record(p, "a", "", 0)
	f.project(p, 0, 10, rec("a", "1"), rec("b", "1"), storage.Record{Key: "never"})
	f.record(p, "a", "1", 10)
	f.project(p, 10, 17, rec("a", "2"), storage.Record{Key: "b"})
	f.project(p, 17, 17, rec("c", "3")) // a step that goes nowhere is one
	f.project(p, 17, 30)
	// The cursor may fall behind in a crash, but not when the store is closed.
	for range 2 {
		f.record(p, "a", "2", 30)
		f.record(p, "b", "", 30)
		f.record(p, "c", "3", 30)
		f.record(p, "never", "", 30)
		if cursor := f.openProjection(p); cursor != 30 {
			t.Fatalf("the cursor is at %d, want 30", cursor)
		}
		f.reopen()
	}
}

func testProjectionConflict(t *testing.T, open Opener) {
	f := start(t, open)
	p := storage.Projection{Name: "p", Version: 1}
	f.openProjection(p)
	f.project(p, 0, 10, rec("a", "1"))
	for _, from := range []uint64{0, 9, 11, 1 << 40} {
		err := f.s.Project(t.Context(), storage.Step{Projection: p, From: from, Through: 50, Records: []storage.Record{rec("a", "wrong"), {Key: "a"}}})
		f.wantErr(err, storage.ErrConflict)
	}
	f.record(p, "a", "1", 10)
}

func testProjectionVersions(t *testing.T, open Opener) {
	f := start(t, open)
	one, two := storage.Projection{Name: "p", Version: 1}, storage.Projection{Name: "p", Version: 2}
	f.openProjection(one)
	f.project(one, 0, 10, rec("a", "1"), rec("b", "1"))
	if cursor := f.openProjection(two); cursor != 0 {
		t.Fatalf("another version stands at %d", cursor)
	}
	f.record(two, "a", "", 0)
	f.wantErr(f.s.Project(t.Context(), storage.Step{Projection: one, From: 10, Through: 11}), storage.ErrConflict)
	f.project(two, 0, 5, rec("a", "2"))
	f.reopen()
	f.record(two, "a", "2", 5)
	f.record(two, "b", "", 5)
	// Back again, as after a downgrade.
	if cursor := f.openProjection(one); cursor != 0 {
		t.Fatalf("the version before stands at %d", cursor)
	}
	f.record(one, "a", "", 0)
}

func testProjectionDropped(t *testing.T, open Opener) {
	f := start(t, open)
	p, other := storage.Projection{Name: "p", Version: 1}, storage.Projection{Name: "pp", Version: 1}
	f.must(f.s.DropProjection(t.Context(), p)) // of nothing
	f.openProjection(p)
	f.openProjection(other)
	f.project(p, 0, 10, rec("a", "1"))
	f.project(other, 0, 10, rec("a", "1"))
	f.must(f.s.DropProjection(t.Context(), p))
	f.wantErr(f.s.Project(t.Context(), storage.Step{Projection: p, From: 10, Through: 11}), storage.ErrConflict)
	f.record(p, "a", "", 0)
	if cursor := f.openProjection(p); cursor != 0 {
		t.Fatalf("a dropped projection stands at %d", cursor)
	}
	f.project(p, 0, 3, rec("b", "2"))
	f.record(p, "a", "", 3)
	f.record(p, "b", "2", 3)
	f.record(other, "a", "1", 10)
}

func testProjectionLimits(t *testing.T, open Opener) {
	f := start(t, open)
	p := storage.Projection{Name: "p", Version: 1}
	f.openProjection(p)
	long, large := strings.Repeat("k", storage.MaxKey-1), string(Filler(1, storage.MaxValue))
	f.project(p, 0, 1, rec(long, large))
	f.record(p, long, large, 1)
	many := make([]storage.Record, storage.MaxProjectRecords+1)
	for i := range many {
		many[i] = rec(fmt.Sprint(i), "x")
	}
	for _, records := range [][]storage.Record{
		{rec("ok", "x"), rec(long+"k", "x")},
		{rec("ok", "x"), rec("k", large+"x")},
		many,
	} {
		err := f.s.Project(t.Context(), storage.Step{Projection: p, From: 1, Through: 2, Records: records})
		f.wantErr(err, storage.ErrTooLarge)
		f.record(p, "ok", "", 1)
		f.record(p, "0", "", 1)
	}
	f.project(p, 1, 2, many[1:]...)
	f.record(p, "1", "x", 2)
}

func testProjectionList(t *testing.T, open Opener) {
	f := start(t, open)
	p, other := storage.Projection{Name: "p", Version: 1}, storage.Projection{Name: "pa", Version: 1}
	keys := []string{"a", "a\x00", "a/1", "a/2", "a/3", "b", "b/1", "\xff", "\xff\xff"}
	for _, q := range []storage.Projection{p, other} {
		f.openProjection(q)
		var records []storage.Record
		for _, key := range append(keys, "a/25") {
			records = append(records, rec(key, key+" of "+q.Name))
		}
		f.project(q, 0, 5, records...)
		f.project(q, 5, 7, storage.Record{Key: "a/25"})
	}
	slices.Sort(keys)
	for _, prefix := range []string{"", "a", "a/", "b", "c", "\xff"} {
		for _, after := range append([]string{"", "a/0", "zz", "a/25"}, keys...) {
			var want []string
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && (after == "" || key > after) {
					want = append(want, key)
				}
			}
			for _, limit := range []int{1, 3, 100} {
				records, cursor, err := f.s.ListRecords(t.Context(), p, prefix, after, limit)
				f.must(err)
				var got []string
				for _, r := range records {
					if got = append(got, r.Key); string(r.Value) != r.Key+" of p" {
						t.Fatalf("record %q is %q", r.Key, r.Value)
					}
				}
				if !slices.Equal(got, want[:min(limit, len(want))]) || cursor != 7 {
					t.Fatalf("prefix %q after %q limit %d: %q at %d, want %q", prefix, after, limit, got, cursor, want)
				}
			}
		}
	}
}

// Projections, documents and events are independent.
func testProjectionsApart(t *testing.T, open Opener) {
	f := start(t, open)
	p, other := storage.Projection{Name: "p", Version: 1}, storage.Projection{Name: "p\x00", Version: 1}
	f.openProjection(p)
	f.openProjection(other)
	_, err := f.s.PutDocument(t.Context(), storage.Document{Collection: "p", Key: "k", Value: []byte("document")})
	f.must(err)
	f.project(p, 0, 3, rec("k", "record"), rec("\x00k", "odd"))
	f.project(other, 0, 4, rec("k", "other"))
	f.must(f.s.DeleteDocument(t.Context(), "p", "k", storage.AnyVersion))
	f.commit(f.events(5, nil)...)
	f.prune(f.gen.now.Add(1), 5)
	f.record(p, "k", "record", 3)
	f.record(p, "\x00k", "odd", 3)
	f.record(other, "k", "other", 4)
}
