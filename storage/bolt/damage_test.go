package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

// filled makes documents that take several pages of each kind, with free ones in
// between, and returns what is in them.
func filled(t *testing.T, path string) map[string]storage.Document {
	t.Helper()
	d := openDocuments(t, path)
	want := map[string]storage.Document{}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 160 {
		doc := storage.Document{Collection: "c", Key: fmt.Sprintf("key %03d", i), Value: make([]byte, rng.IntN(400)), Version: storage.AnyVersion}
		if i%40 == 7 {
			doc.Value = make([]byte, 9000)
		}
		for i := range doc.Value {
			doc.Value[i] = byte(rng.Uint32())
		}
		var err error
		doc.Version, err = d.PutDocument(t.Context(), doc)
		must(t, err)
		want[doc.Key] = doc
	}
	for i := 100; i < 120; i++ {
		key := fmt.Sprintf("key %03d", i)
		must(t, d.DeleteDocument(t.Context(), "c", key, storage.AnyVersion))
		delete(want, key)
	}
	must(t, d.Close())
	return want
}

// TestDocumentsDamage: whatever byte rots, a document is what it was, or is said
// to be damaged.
func TestDocumentsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	want := filled(t, path)
	whole, err := os.ReadFile(path)
	must(t, err)
	rng := rand.New(rand.NewPCG(2, 2))
	refused, partly := 0, 0
	for n := range 1500 {
		rotten := bytes.Clone(whole)
		at := rng.IntN(len(rotten))
		if n%2 == 0 { // headers and elements of pages
			at = at/pageSize*pageSize + rng.IntN(64)
		}
		rotten[at] ^= 1 << rng.IntN(8)
		if n%10 == 9 { // a sector
			copy(rotten[at/512*512:], make([]byte, 512))
		}
		must(t, os.WriteFile(path, rotten, 0o600))
		d, err := OpenDocuments(path, Options{Existing: true, noSync: true})
		if err != nil {
			wantErr(t, err, storage.ErrDamaged)
			refused++
			continue
		}
		for key, doc := range want {
			got, err := d.GetDocument(t.Context(), "c", key)
			if errors.Is(err, storage.ErrDamaged) {
				partly++
				// It can be replaced, and the others stay.
				_, err := d.PutDocument(t.Context(), doc)
				wantErr(t, err, storage.ErrDamaged)
				doc.Version = storage.AnyVersion
				doc.Version, err = d.PutDocument(t.Context(), doc)
				must(t, err)
				got, err = d.GetDocument(t.Context(), "c", key)
				must(t, err)
				sameDocument(t, got, doc)
				continue
			}
			must(t, err)
			sameDocument(t, got, doc)
		}
		docs, err := d.ListDocuments(t.Context(), "c", "", "", 1000)
		if must(t, err); len(docs) != len(want) {
			t.Fatalf("byte %d: %d documents are listed of %d", at, len(docs), len(want))
		}
		must(t, d.Close())
	}
	if refused == 0 || partly == 0 {
		t.Fatalf("%d files were refused and %d documents were damaged", refused, partly)
	}
	for _, size := range []int{1, 100, pageSize, pageSize + 100, 3 * pageSize, len(whole) / 2} {
		must(t, os.WriteFile(path, whole[:size], 0o600))
		_, err := OpenDocuments(path, Options{})
		wantErr(t, err, storage.ErrDamaged)
	}
	must(t, os.Remove(path))
	_, err = OpenDocuments(path, Options{Existing: true})
	wantErr(t, err, storage.ErrDamaged)
}

// TestCycle: pages that lead to themselves, which would keep bbolt going for ever,
// are found.
func TestCycle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	filled(t, path)
	whole, err := os.ReadFile(path)
	must(t, err)
	branches := 0
	for id := 2; id < len(whole)/pageSize; id++ {
		page := whole[id*pageSize:]
		if order.Uint16(page[8:]) != flagBranch {
			continue
		}
		for i := range int(order.Uint16(page[10:])) {
			rotten := bytes.Clone(whole)
			order.PutUint64(rotten[id*pageSize+pageHeader+elementSize*i+8:], uint64(id))
			err := checkFile(bytes.NewReader(rotten), func(_, _, _ []byte) error { return nil })
			if err == nil {
				continue // a page that is free by now
			}
			wantErr(t, err, storage.ErrDamaged)
			branches++
		}
	}
	if branches == 0 {
		t.Fatal("no branch is in use")
	}
}

// TestProjectionsDamage: whatever rots, all is there or nothing.
func TestProjectionsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "projections.db")
	p := openProjections(t, path)
	pr := storage.Projection{Name: "states", Version: 3}
	step := storage.Step{Projection: pr}
	want := map[string]string{}
	for i := range 300 {
		r := storage.Record{Key: fmt.Sprint(i), Value: bytes.Repeat([]byte{byte(i)}, i)}
		step.Records = append(step.Records, r)
		want[r.Key] = string(r.Value)
		if i%100 == 99 {
			step.Through++
			must(t, p.Project(t.Context(), step))
			step.From, step.Records = step.Through, nil
		}
	}
	must(t, p.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	rng := rand.New(rand.NewPCG(3, 3))
	lost := 0
	for n := range 600 {
		rotten := bytes.Clone(whole)
		at := rng.IntN(len(rotten))
		if n%2 == 0 {
			at = at/pageSize*pageSize + rng.IntN(64)
		}
		rotten[at] ^= 1 << rng.IntN(8)
		must(t, os.WriteFile(path, rotten, 0o600))
		p, err := OpenProjections(path, Options{noSync: true})
		must(t, err)
		cursor, err := p.OpenProjection(t.Context(), pr)
		must(t, err)
		records, _, err := p.ListRecords(t.Context(), pr, "", "", 1000)
		must(t, err)
		switch {
		case cursor == 0 && len(records) == 0:
			lost++
			must(t, p.Project(t.Context(), storage.Step{Projection: pr, Through: 1}))
		// bbolt writes one meta page after the other: where the newer one is lost it
		// goes on from the step before.
		case cursor != 3 && (cursor != 2 || at >= 2*pageSize):
			t.Fatalf("byte %d: the cursor is at %d", at, cursor)
		case len(records) != int(cursor)*100:
			t.Fatalf("byte %d: %d records at %d", at, len(records), cursor)
		}
		for _, r := range records {
			if want[r.Key] != string(r.Value) {
				t.Fatalf("byte %d: record %q is wrong", at, r.Key)
			}
		}
		must(t, p.Close())
	}
	if lost == 0 {
		t.Fatal("nothing was lost: the test flips nothing that counts")
	}
}

// TestProjectionsRemoved: the file may go at any time.
func TestProjectionsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "projections.db")
	p := openProjections(t, path)
	pr := storage.Projection{Name: "states", Version: 1}
	must(t, p.Project(t.Context(), storage.Step{Projection: pr, Through: 5}))
	must(t, os.Remove(path))
	must(t, p.Project(t.Context(), storage.Step{Projection: pr, From: 5, Through: 6}))
	must(t, p.Close())
	p = openProjections(t, path)
	cursor, err := p.OpenProjection(t.Context(), pr)
	if must(t, err); cursor != 0 {
		t.Fatalf("the cursor of a removed projection is at %d", cursor)
	}
	must(t, p.Close())
}

// TestCutWhileOpen: pages that vanish from under bbolt's map are an error, for
// documents, and the end of what projections hold.
func TestCutWhileOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "documents.db")
	want := filled(t, path)
	d := openDocuments(t, path)
	must(t, os.Truncate(path, 2*pageSize))
	for key := range want {
		_, err := d.GetDocument(t.Context(), "c", key)
		wantErr(t, err, storage.ErrDamaged)
	}
	_, err := d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "new", Version: storage.AnyVersion})
	wantErr(t, err, storage.ErrClosed)
	_, err = d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "new", Version: storage.AnyVersion})
	wantErr(t, err, storage.ErrClosed)
	_ = d.Close()
	_, err = OpenDocuments(path, Options{}) // nobody holds its lock any more
	wantErr(t, err, storage.ErrDamaged)

	path = filepath.Join(dir, "projections.db")
	p := openProjections(t, path)
	pr := storage.Projection{Name: "states", Version: 1}
	record := storage.Record{Key: "k", Value: make([]byte, 20_000)}
	must(t, p.Project(t.Context(), storage.Step{Projection: pr, Through: 5, Records: []storage.Record{record}}))
	must(t, os.Truncate(path, 2*pageSize))
	_, cursor, err := p.GetRecord(t.Context(), pr, "k")
	if wantErr(t, err, storage.ErrNotFound); cursor != 0 {
		t.Fatalf("the cursor is at %d", cursor)
	}
	wantErr(t, p.Project(t.Context(), storage.Step{Projection: pr, From: 5, Through: 6}), storage.ErrConflict)
	must(t, p.Project(t.Context(), storage.Step{Projection: pr, Through: 6, Records: []storage.Record{record}}))
	must(t, os.Truncate(path, 2*pageSize))
	wantErr(t, p.Project(t.Context(), storage.Step{Projection: pr, From: 6, Through: 7}), storage.ErrConflict)
	must(t, p.Close())
}

// FuzzCheck: no file makes the check panic or ask for more than it holds.
func FuzzCheck(f *testing.F) {
	path := filepath.Join(f.TempDir(), "documents.db")
	d := openDocuments(f, path)
	for i := range 5 {
		_, err := d.PutDocument(f.Context(), storage.Document{Collection: "c", Key: fmt.Sprint(i), Value: make([]byte, 3000)})
		must(f, err)
	}
	must(f, d.Close())
	whole, err := os.ReadFile(path)
	must(f, err)
	f.Add(uint32(16), []byte{1})
	f.Add(uint32(4*pageSize), []byte("a page"))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(whole)
		copy(b[int(at)%len(b):], patch)
		err := checkFile(bytes.NewReader(b), func(_, key, value []byte) error {
			_, err := verifyChecksum(key, value)
			_, _, err2 := decodeDocument(key, value)
			if err == nil && err2 == nil {
				t.Fatal("a value of two kinds")
			}
			return nil
		})
		if err != nil && !errors.Is(err, storage.ErrDamaged) {
			t.Fatal(err)
		}
	})
}
