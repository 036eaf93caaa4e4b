package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "documents.db")
	d := openDocuments(t, path)
	_, err := OpenDocuments(path, Options{})
	wantErr(t, err, storage.ErrLocked)
	must(t, d.Close())
	must(t, d.Close())
	_, err = d.GetDocument(t.Context(), "c", "k")
	wantErr(t, err, storage.ErrClosed)
	_, err = d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "k"})
	wantErr(t, err, storage.ErrClosed)

	path = filepath.Join(dir, "projections.db")
	p := openProjections(t, path)
	_, err = OpenProjections(path, Options{})
	wantErr(t, err, storage.ErrLocked)
	must(t, p.Close())
	must(t, p.Close())
	_, err = p.OpenProjection(t.Context(), storage.Projection{Name: "p"})
	wantErr(t, err, storage.ErrClosed)
	wantErr(t, p.Drop(t.Context()), storage.ErrClosed)
}

// TestCanceled: who waits no more writes nothing, and does not keep others.
func TestCanceled(t *testing.T) {
	d := openDocuments(t, filepath.Join(t.TempDir(), "documents.db"))
	defer func() { must(t, d.Close()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.PutDocument(ctx, storage.Document{Collection: "c", Key: "k"})
	wantErr(t, err, context.Canceled)
	_, err = d.GetDocument(ctx, "c", "k")
	wantErr(t, err, context.Canceled)
	_, err = d.Snapshot(ctx, &bytes.Buffer{})
	wantErr(t, err, context.Canceled)
}

// TestFull: a file that may not grow refuses what does not fit and takes what
// does.
func TestFull(t *testing.T) {
	opt := Options{maxSize: 1 << 20}
	path := filepath.Join(t.TempDir(), "documents.db")
	d, err := OpenDocuments(path, opt)
	must(t, err)
	checkFull(t, d, func() { d.f.db.MaxSize = 0 })
	must(t, d.Close())
	must(t, openDocuments(t, path).Close())
	p, err := OpenProjections(filepath.Join(t.TempDir(), "projections.db"), opt)
	must(t, err)
	pr := storage.Projection{Name: "p", Version: 1}
	cursor := uint64(0)
	for err == nil {
		err = p.Project(t.Context(), storage.Step{Projection: pr, From: cursor, Through: cursor + 1, Records: []storage.Record{
			{Key: fmt.Sprint(cursor), Value: make([]byte, 100_000)},
		}})
		if err == nil {
			cursor++
		}
	}
	wantErr(t, err, storage.ErrNoSpace)
	_, at, err := p.GetRecord(t.Context(), pr, "0")
	if must(t, err); at != cursor {
		t.Fatalf("the cursor is at %d, want %d", at, cursor)
	}
	p.f.db.MaxSize = 0
	must(t, p.Project(t.Context(), storage.Step{Projection: pr, From: cursor, Through: cursor + 1, Records: []storage.Record{{Key: "0"}}}))
	must(t, p.Close())
}

// checkFull fills the disk, and goes on when grow has made it larger.
func checkFull(tb testing.TB, d *Documents, grow func()) {
	n := 0
	put := func(key string) error {
		_, err := d.PutDocument(tb.Context(), storage.Document{Collection: "c", Key: key, Value: make([]byte, 100_000)})
		return err
	}
	var err error
	for err == nil {
		if err = put(fmt.Sprint(n)); err == nil {
			n++
		}
	}
	wantErr(tb, err, storage.ErrNoSpace)
	wantErr(tb, put("again"), storage.ErrNoSpace)
	for i := range n {
		_, err := d.GetDocument(tb.Context(), "c", fmt.Sprint(i))
		must(tb, err)
	}
	grow()
	must(tb, put("again"))
	must(tb, d.DeleteDocument(tb.Context(), "c", "0", storage.AnyVersion))
	docs, err := d.ListDocuments(tb.Context(), "c", "", "", 1000)
	if must(tb, err); len(docs) != n || n < 3 {
		tb.Fatalf("%d documents, want %d", len(docs), n)
	}
}

// TestSharedSync: writers at once are all served, in fewer transactions.
func TestSharedSync(t *testing.T) {
	d := openDocuments(t, filepath.Join(t.TempDir(), "documents.db"))
	defer func() { must(t, d.Close()) }()
	const n = 50
	release, entered := make(chan struct{}), make(chan struct{})
	transactions := 0
	commit := d.commits.commit
	d.commits.commit = func(batch []*pendingWrite) {
		if transactions++; transactions == 1 {
			close(entered)
			<-release
		}
		commit(batch)
	}
	var wg sync.WaitGroup
	versions := make([]uint64, n)
	put := func(i int) {
		var err error
		versions[i], err = d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: fmt.Sprint(i)})
		if err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { put(0) })
	<-entered
	for i := 1; i < n; i++ {
		wg.Go(func() { put(i) })
	}
	// A conflict of one is nobody else's.
	wg.Go(func() {
		if _, err := d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "0", Version: 99}); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("a conflict: %v", err)
		}
	})
	for {
		d.commits.mu.Lock()
		waiting := len(d.commits.waiting)
		d.commits.mu.Unlock()
		if waiting == n {
			break
		}
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	seen := map[uint64]bool{}
	for i, v := range versions {
		if v == 0 || v > n || seen[v] {
			t.Fatalf("document %d has version %d", i, v)
		}
		seen[v] = true
	}
	if transactions != 2 {
		t.Fatalf("%d transactions", transactions)
	}
}

// TestSnapshotIsWhole: a snapshot that was cut or changed anywhere is refused.
func TestSnapshotIsWhole(t *testing.T) {
	dir := t.TempDir()
	want := filled(t, filepath.Join(dir, "documents.db"))
	d := openDocuments(t, filepath.Join(dir, "documents.db"))
	var buf bytes.Buffer
	_, err := d.Snapshot(t.Context(), &buf)
	must(t, err)
	n, err := CheckSnapshot(t.Context(), bytes.NewReader(buf.Bytes()))
	if must(t, err); n != len(want) {
		t.Fatalf("%d documents, want %d", n, len(want))
	}
	wantErr(t, d.Load(t.Context(), &buf), storage.ErrConflict)
	whole := buf.Bytes()
	for at := 0; at < len(whole); at += 1 + len(whole)/1000 {
		_, err := CheckSnapshot(t.Context(), bytes.NewReader(whole[:at]))
		wantErr(t, err, ErrSnapshot)
		rotten := bytes.Clone(whole)
		rotten[at] ^= 4
		_, err = CheckSnapshot(t.Context(), bytes.NewReader(rotten))
		wantErr(t, err, ErrSnapshot)
	}
	must(t, d.Close())

	// Frames of more than one transaction.
	d = openDocuments(t, filepath.Join(dir, "large.db"))
	for i := range 12 {
		_, err := d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: fmt.Sprint(i), Value: bytes.Repeat([]byte{byte(i)}, storage.MaxValue)})
		must(t, err)
	}
	must(t, d.RaiseVersions(t.Context(), 1000))
	buf.Reset()
	_, err = d.Snapshot(t.Context(), &buf)
	must(t, err)
	must(t, d.Close())
	d = openDocuments(t, filepath.Join(dir, "loaded.db"))
	must(t, d.Load(t.Context(), &buf))
	for i := range 12 {
		doc, err := d.GetDocument(t.Context(), "c", fmt.Sprint(i))
		must(t, err)
		sameDocument(t, doc, storage.Document{Collection: "c", Key: fmt.Sprint(i), Value: bytes.Repeat([]byte{byte(i)}, storage.MaxValue), Version: uint64(i) + 1})
	}
	version, err := d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "new"})
	if must(t, err); version != 1013 {
		t.Fatalf("the next version is %d, want 1013", version)
	}
	must(t, d.Close())
}

// TestSnapshotGolden: what was written once is read for ever.
func TestSnapshotGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/snapshot_v1.hex")
	must(t, err)
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	must(t, err)
	d := openDocuments(t, filepath.Join(t.TempDir(), "documents.db"))
	defer func() { must(t, d.Close()) }()
	must(t, d.Load(t.Context(), bytes.NewReader(golden)))
	for i, want := range goldenDocuments {
		got, err := d.GetDocument(t.Context(), want.Collection, want.Key)
		must(t, err)
		want.Version = uint64(i + 1)
		sameDocument(t, got, want)
	}
	var buf bytes.Buffer
	_, err = d.Snapshot(t.Context(), &buf)
	must(t, err)
	if !bytes.Equal(buf.Bytes(), golden) {
		t.Fatalf("the snapshot is written as %x", buf.Bytes())
	}
}

var goldenDocuments = []storage.Document{
	{Collection: "keys", Key: "a", Value: []byte(`{"name":"a"}`)}, {Collection: "", Key: "", Value: []byte{}},
	{Collection: "keys", Key: "a\x00\xff", Value: bytes.Repeat([]byte("long "), 40)},
}

func FuzzSnapshot(f *testing.F) {
	text, err := os.ReadFile("testdata/snapshot_v1.hex")
	must(f, err)
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	must(f, err)
	f.Add(golden)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := CheckSnapshot(t.Context(), bytes.NewReader(b)); err != nil {
			wantErr(t, err, ErrSnapshot)
		}
	})
}

func BenchmarkPutDocument(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			d := openDocuments(b, filepath.Join(b.TempDir(), "documents.db"))
			defer func() { must(b, d.Close()) }()
			value := make([]byte, 1000)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						_, err := d.PutDocument(b.Context(), storage.Document{Collection: "c", Key: fmt.Sprint(i % 1000), Value: value, Version: storage.AnyVersion})
						must(b, err)
					}
				})
			}
			wg.Wait()
		})
	}
}
