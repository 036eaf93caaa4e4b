package storagetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

var documentTests = map[string]func(*testing.T, Opener){
	"Documents":            testDocuments,
	"DocumentLimits":       testDocumentLimits,
	"DocumentsCAS":         testDocumentsCAS,
	"DocumentList":         testDocumentList,
	"DocumentsConcurrent":  testDocumentsConcurrent,
	"DocumentVersionsRise": testDocumentVersionsRise,
}

func testDocuments(t *testing.T, open Opener) {
	f := start(t, open)
	ctx := t.Context()
	want := map[[2]string]string{}
	for i, key := range oddValues {
		for _, collection := range []string{"keys", "k", "keysx", oddValues[(i+3)%len(oddValues)]} {
			value := fmt.Sprintf("%d in %.10s", i, collection)
			if len(collection)+len(key) > storage.MaxKey {
				_, err := f.s.PutDocument(ctx, storage.Document{Collection: collection, Key: key, Value: []byte(value), Version: storage.AnyVersion})
				f.wantErr(err, storage.ErrTooLarge)
				continue
			}
			version, err := f.s.PutDocument(ctx, storage.Document{Collection: collection, Key: key, Value: []byte(value), Version: storage.AnyVersion})
			if f.must(err); version == 0 {
				t.Fatal("version 0 is what does not exist")
			}
			want[[2]string{collection, key}] = value
		}
	}
	_, err := f.s.PutDocument(ctx, storage.Document{Collection: "keys", Key: "empty"})
	f.must(err)
	want[[2]string{"keys", "empty"}] = ""
	large := strings.Repeat("large ", 100_000)
	_, err = f.s.PutDocument(ctx, storage.Document{Collection: "keys", Key: "large", Value: []byte(large)})
	f.must(err)
	want[[2]string{"keys", "large"}] = large
	for range 2 {
		for k, value := range want {
			d, err := f.s.GetDocument(ctx, k[0], k[1])
			f.must(err)
			if string(d.Value) != value || d.Collection != k[0] || d.Key != k[1] {
				t.Fatalf("document %q: %+v", k, d)
			}
		}
		_, err := f.s.GetDocument(ctx, "keys", "nothing")
		f.wantErr(err, storage.ErrNotFound)
		f.reopen()
	}
}

func testDocumentLimits(t *testing.T, open Opener) {
	f := start(t, open)
	ctx := t.Context()
	put := func(collection, key string, size int) error {
		_, err := f.s.PutDocument(ctx, storage.Document{
			Collection: collection, Key: key, Value: Filler(1, size), Version: storage.AnyVersion,
		})
		return err
	}
	long := strings.Repeat("k", storage.MaxKey-1)
	f.must(put("c", long, storage.MaxValue))
	f.wantErr(put("c", long+"k", 1), storage.ErrTooLarge)
	f.wantErr(put("cc", long, 1), storage.ErrTooLarge)
	f.wantErr(put("c", "k", storage.MaxValue+1), storage.ErrTooLarge)
	for range 2 {
		d, err := f.s.GetDocument(ctx, "c", long)
		f.must(err)
		if string(d.Value) != string(Filler(1, storage.MaxValue)) {
			t.Fatal("the largest document came back as another")
		}
		docs, err := f.s.ListDocuments(ctx, "c", "", "", 10)
		if f.must(err); len(docs) != 1 {
			t.Fatalf("%d documents, want the one that is within the limits", len(docs))
		}
		f.reopen()
	}
	f.must(f.s.DeleteDocument(ctx, "c", long, storage.AnyVersion))
}

func testDocumentsCAS(t *testing.T, open Opener) {
	f := start(t, open)
	ctx := t.Context()
	doc := storage.Document{Collection: "c", Key: "k", Value: []byte("1")}
	put := func(version uint64) (uint64, error) {
		doc.Version = version
		return f.s.PutDocument(ctx, doc)
	}
	_, err := put(7)
	f.wantErr(err, storage.ErrConflict)
	v1, err := put(0)
	f.must(err)
	_, err = put(0)
	f.wantErr(err, storage.ErrConflict)
	v2, err := put(v1)
	if f.must(err); v2 <= v1 {
		t.Fatalf("version went from %d to %d", v1, v2)
	}
	_, err = put(v1)
	f.wantErr(err, storage.ErrConflict)
	f.wantErr(f.s.DeleteDocument(ctx, "c", "k", v1), storage.ErrConflict)
	f.must(f.s.DeleteDocument(ctx, "c", "k", v2))
	f.wantErr(f.s.DeleteDocument(ctx, "c", "k", v2), storage.ErrNotFound)
	f.wantErr(f.s.DeleteDocument(ctx, "c", "k", storage.AnyVersion), storage.ErrNotFound)
	_, err = f.s.GetDocument(ctx, "c", "k")
	f.wantErr(err, storage.ErrNotFound)
	_, err = put(v2)
	f.wantErr(err, storage.ErrConflict)
	v3, err := put(0)
	if f.must(err); v3 <= v2 {
		t.Fatalf("version fell from %d to %d when the document was made again", v2, v3)
	}
	f.must(f.s.DeleteDocument(ctx, "c", "k", storage.AnyVersion))
	_, err = put(storage.AnyVersion)
	f.must(err)
}

func testDocumentVersionsRise(t *testing.T, open Opener) {
	f := start(t, open)
	last := uint64(0)
	for range 4 {
		for range 5 {
			version, err := f.s.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "k", Version: storage.AnyVersion})
			if f.must(err); version <= last {
				t.Fatalf("version went from %d to %d", last, version)
			}
			last = version
		}
		f.must(f.s.DeleteDocument(t.Context(), "c", "k", last))
		f.reopen()
	}
}

func testDocumentList(t *testing.T, open Opener) {
	f := start(t, open)
	ctx := t.Context()
	keys := []string{"", "a", "a\x00", "a/1", "a/2", "a/3", "b", "b/1", "\xff", "\xff\xff"}
	for i, key := range keys {
		for _, collection := range []string{"c", "cc", "b"} {
			_, err := f.s.PutDocument(ctx, storage.Document{Collection: collection, Key: key, Value: []byte{byte(i)}})
			f.must(err)
		}
	}
	_, err := f.s.PutDocument(ctx, storage.Document{Collection: "c", Key: "a/25", Value: []byte("x")})
	f.must(err)
	f.must(f.s.DeleteDocument(ctx, "c", "a/25", storage.AnyVersion))
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
				docs, err := f.s.ListDocuments(ctx, "c", prefix, after, limit)
				f.must(err)
				var got []string
				for _, d := range docs {
					got = append(got, d.Key)
					if d.Version == 0 || d.Collection != "c" || keys[d.Value[0]] == "" && d.Key != "" {
						t.Fatalf("document %+v", d)
					}
				}
				if !slices.Equal(got, want[:min(limit, len(want))]) {
					t.Fatalf("prefix %q after %q limit %d: %q, want %q", prefix, after, limit, got, want)
				}
			}
		}
	}
}

func testDocumentsConcurrent(t *testing.T, open Opener) {
	f := start(t, open)
	const writers, rounds = 8, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < rounds; {
				d, _ := f.s.GetDocument(t.Context(), "c", "counter") // its zero value is "not there"
				next := fmt.Sprint(len(d.Value) + 1)
				_, err := f.s.PutDocument(t.Context(), storage.Document{
					Collection: "c", Key: "counter", Value: append(d.Value, next[len(next)-1]), Version: d.Version,
				})
				if err == nil {
					done++
				}
			}
		})
	}
	wg.Wait()
	d, err := f.s.GetDocument(t.Context(), "c", "counter")
	if f.must(err); len(d.Value) != writers*rounds {
		t.Fatalf("%d increments of %d survived", len(d.Value), writers*rounds)
	}
}
