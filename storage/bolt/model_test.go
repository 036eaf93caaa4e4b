package bolt

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/storage"
)

type docModel struct {
	d       *Documents
	path    string
	want    map[[2]string]storage.Document
	highest uint64
}

func drawName(t *rapid.T) [2]string {
	part := rapid.SampledFrom([]string{"", "a", "aa", "b", "a\x00", "\x00\x01a", "\xff", strings.Repeat("long", 200)})
	return [2]string{part.Draw(t, "collection"), part.Draw(t, "key")}
}

func drawValue(t *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 100, 4000, 5000, 40_000}).Draw(t, "size")
	return bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n)
}

// version draws the right version, any, or a wrong one.
func (m *docModel) version(t *rapid.T, name [2]string) uint64 {
	switch rapid.IntRange(0, 3).Draw(t, "version") {
	case 0:
		return storage.AnyVersion
	case 1:
		return rapid.Uint64Range(0, m.highest+1).Draw(t, "guess")
	}
	return m.want[name].Version
}

func (m *docModel) Put(t *rapid.T) {
	name := drawName(t)
	doc := storage.Document{Collection: name[0], Key: name[1], Value: drawValue(t), Version: m.version(t, name)}
	version, err := m.d.PutDocument(t.Context(), doc)
	if doc.Version != storage.AnyVersion && doc.Version != m.want[name].Version {
		wantErr(asTB(t), err, storage.ErrConflict)
		return
	}
	must(asTB(t), err)
	if version <= m.highest {
		t.Fatalf("version %d after %d", version, m.highest)
	}
	m.highest, doc.Version = version, version
	m.want[name] = doc
}

func (m *docModel) Delete(t *rapid.T) {
	name := drawName(t)
	version := m.version(t, name)
	err := m.d.DeleteDocument(t.Context(), name[0], name[1], version)
	switch have := m.want[name].Version; {
	case have == 0:
		wantErr(asTB(t), err, storage.ErrNotFound)
	case version != storage.AnyVersion && version != have:
		wantErr(asTB(t), err, storage.ErrConflict)
	default:
		must(asTB(t), err)
		delete(m.want, name)
	}
}

func (m *docModel) Raise(t *rapid.T) {
	by := rapid.Uint64Range(0, 1<<33).Draw(t, "by")
	must(asTB(t), m.d.RaiseVersions(t.Context(), by))
	m.highest += by
}

func (m *docModel) Reopen(t *rapid.T) {
	must(asTB(t), m.d.Close())
	var err error
	m.d, err = OpenDocuments(m.path, Options{Existing: true, noSync: true})
	must(asTB(t), err)
}

// Restore goes on with a store that was made of a snapshot.
func (m *docModel) Restore(t *rapid.T) {
	var buf bytes.Buffer
	n, err := m.d.Snapshot(t.Context(), &buf)
	must(asTB(t), err)
	if n != len(m.want) {
		t.Fatalf("%d documents in the snapshot, want %d", n, len(m.want))
	}
	must(asTB(t), m.d.Close())
	m.path += "r"
	m.d, err = OpenDocuments(m.path, Options{noSync: true})
	must(asTB(t), err)
	buf.WriteString("what follows")
	must(asTB(t), m.d.Load(t.Context(), &buf))
	if buf.String() != "what follows" {
		t.Fatalf("%q is left behind the snapshot", buf.String())
	}
}

func (m *docModel) Check(t *rapid.T) {
	lists := map[string][]storage.Document{}
	for _, name := range slices.SortedFunc(maps.Keys(m.want), func(a, b [2]string) int { return strings.Compare(a[1], b[1]) }) {
		want := m.want[name]
		got, err := m.d.GetDocument(t.Context(), name[0], name[1])
		must(asTB(t), err)
		sameDocument(asTB(t), got, want)
		lists[name[0]] = append(lists[name[0]], want)
	}
	for collection, want := range lists {
		got, err := m.d.ListDocuments(t.Context(), collection, "", "", 1000)
		must(asTB(t), err)
		if len(got) != len(want) {
			t.Fatalf("%d documents of %q, want %d", len(got), collection, len(want))
		}
		for i := range want {
			sameDocument(asTB(t), got[i], want[i])
		}
	}
}

func sameDocument(tb testing.TB, got, want storage.Document) {
	tb.Helper()
	if got.Collection != want.Collection || got.Key != want.Key || got.Version != want.Version || !bytes.Equal(got.Value, want.Value) {
		tb.Fatalf("document %.20q %.20q: version %d with %d bytes, want version %d with %d",
			got.Collection, got.Key, got.Version, len(got.Value), want.Version, len(want.Value))
	}
}

// rapidTB lets helpers that take a testing.TB fail a rapid.T.
type rapidTB struct {
	testing.TB
	t *rapid.T
}

func (r rapidTB) Helper()                        {}
func (r rapidTB) Fatal(args ...any)              { r.t.Fatal(args...) }
func (r rapidTB) Fatalf(msg string, args ...any) { r.t.Fatalf(msg, args...) }
func asTB(t *rapid.T) testing.TB                 { return rapidTB{t: t} }

func TestDocumentsModel(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &docModel{path: filepath.Join(dir, fmt.Sprint(n)), want: map[[2]string]storage.Document{}}
		var err error
		m.d, err = OpenDocuments(m.path, Options{noSync: true})
		must(t, err)
		defer func() { must(t, m.d.Close()) }()
		rt.Repeat(map[string]func(*rapid.T){"put": m.Put, "put2": m.Put, "delete": m.Delete, "raise": m.Raise, "reopen": m.Reopen, "restore": m.Restore, "": m.Check})
	})
}

func TestProjectionsModel(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		p, err := OpenProjections(path, Options{noSync: true})
		must(t, err)
		defer func() { must(t, p.Close()) }()
		pr := storage.Projection{Name: "states", Version: 1}
		want, cursor := map[string][]byte{}, uint64(0)
		empty := func() {
			clear(want)
			cursor = 0
		}
		ctx := rt.Context()
		rt.Repeat(map[string]func(*rapid.T){
			"project": func(rt *rapid.T) {
				step := storage.Step{Projection: pr, From: cursor, Through: cursor + rapid.Uint64Range(0, 100).Draw(rt, "events")}
				after := maps.Clone(want)
				for range rapid.IntRange(0, 30).Draw(rt, "records") {
					r := storage.Record{Key: fmt.Sprint(rapid.IntRange(0, 50).Draw(rt, "key"))}
					delete(after, r.Key)
					if rapid.IntRange(0, 2).Draw(rt, "delete") > 0 {
						r.Value = drawValue(rt)
						after[r.Key] = r.Value
					}
					step.Records = append(step.Records, r)
				}
				if rapid.IntRange(0, 4).Draw(rt, "wrong") == 0 {
					step.From++
					wantErr(asTB(rt), p.Project(ctx, step), storage.ErrConflict)
					return
				}
				must(asTB(rt), p.Project(ctx, step))
				want, cursor = after, step.Through
			},
			"open another version": func(rt *rapid.T) {
				if version := rapid.IntRange(1, 3).Draw(rt, "version"); version != pr.Version {
					pr.Version = version
					empty()
				}
				got, err := p.OpenProjection(ctx, pr)
				must(asTB(rt), err)
				if got != cursor {
					rt.Fatalf("opened at %d, want %d", got, cursor)
				}
			},
			"drop": func(rt *rapid.T) {
				must(asTB(rt), p.DropProjection(ctx, pr))
				empty()
			},
			"drop all": func(rt *rapid.T) {
				must(asTB(rt), p.Drop(ctx))
				empty()
			},
			"reopen": func(rt *rapid.T) {
				must(asTB(rt), p.Close())
				p, err = OpenProjections(path, Options{noSync: true})
				must(asTB(rt), err)
			},
			"": func(rt *rapid.T) {
				got, at, err := p.ListRecords(ctx, pr, "", "", 1000)
				must(asTB(rt), err)
				if at != cursor || len(got) != len(want) {
					rt.Fatalf("%d records at %d, want %d at %d", len(got), at, len(want), cursor)
				}
				for _, r := range got {
					if v, ok := want[r.Key]; !ok || !bytes.Equal(v, r.Value) {
						rt.Fatalf("record %q has %d bytes, want %d", r.Key, len(r.Value), len(v))
					}
				}
			},
		})
	})
}
