package badger

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bdg "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/convert"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// oldStore is what a version before this one read of a store that it wrote.
type oldStore struct {
	State struct {
		First, Last, Issued, DocumentVersion uint64
		Identity                             [2]uint64
	}
	Events []struct {
		Seq                   uint64
		DedupKey, BodyDigest  string
		WorkspaceID, Source   string
		Size                  int
		PayloadMismatch       bool
		ReplayOf              uint64
		WorkflowID, AgentID   string
		ErrorMessage, Subject string
	}
	Documents []struct {
		Collection, Key, Value string
		Version                uint64
	}
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("format1", "testdata", name))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	return b
}

func oldStores(t *testing.T) (stores map[string]oldStore) {
	t.Helper()
	must(t, json.Unmarshal(fixture(t, "manifest.json.gz"), &stores))
	return stores
}

func unpackOld(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	r := tar.NewReader(bytes.NewReader(fixture(t, name)))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, h.Name), b, 0o600))
	}
}

func convertStore(t *testing.T, dir string) {
	t.Helper()
	c, err := convert.New(dir, convert.Options{Logger: zap.NewNop()})
	must(t, err)
	if c == nil {
		t.Fatal("there is nothing to convert")
	}
	must(t, c.Run(t.Context()))
}

// holds compares a store with what the old version read.
func holds(t *testing.T, s *Store, want oldStore) {
	t.Helper()
	n := 0
	must(t, s.Scan(t.Context(), 0, math.MaxUint64, func(e *event.Event) bool {
		if n == len(want.Events) {
			t.Fatalf("event %d is one too many", e.Seq)
		}
		w := want.Events[n]
		n++
		if e.Seq != w.Seq || e.DedupKey.String() != w.DedupKey || e.BodyDigest.String() != w.BodyDigest || e.WorkspaceID != w.WorkspaceID ||
			e.Source != w.Source || e.Size != w.Size || e.PayloadMismatch != w.PayloadMismatch || e.ReplayOf != w.ReplayOf ||
			e.WorkflowID != w.WorkflowID || e.AgentID != w.AgentID {
			t.Fatalf("got %+v, want %+v", e, w)
		}
		return true
	}))
	if n != len(want.Events) {
		t.Fatalf("%d events, want %d", n, len(want.Events))
	}
	for _, w := range want.Events {
		e, err := s.Get(t.Context(), w.Seq)
		must(t, err)
		again := *e
		again.Seq, again.BodyRef = 0, ""
		out, err := s.Prepare(t.Context(), &again)
		must(t, err)
		if !out.Duplicate || out.Seq != w.Seq {
			t.Fatalf("event %d comes again: %+v", w.Seq, out)
		}
	}
	for _, d := range want.Documents {
		if strings.HasSuffix(d.Collection, "_state") || strings.ContainsRune(d.Key, '\ufffd') {
			continue
		}
		got, err := s.GetDocument(t.Context(), d.Collection, d.Key)
		must(t, err)
		if string(got.Value) != d.Value || got.Version != d.Version {
			t.Fatalf("document %+v, want %+v", got, d)
		}
	}
}

func TestConvert(t *testing.T) {
	stores := oldStores(t)
	for name, key := range map[string]string{"restored.tar.gz": "Restored", "empty.tar.gz": "Empty", "killed.tar.gz": "Killed"} {
		t.Run(name, func(t *testing.T) {
			want, ok := stores[key]
			if !ok {
				t.Fatal("the manifest does not tell of it")
			}
			dir := unpackOld(t, name)
			_, err := Open(dir, testOptions())
			wantErr(t, err, storage.ErrFormat)
			convertStore(t, dir)
			s := open(t, dir)
			defer func() { closed(t, s) }()
			holds(t, s, want)
			if id := hex.EncodeToString(s.identity[:]); id == strings.Repeat("0", 32) {
				t.Error("the store lost its identity")
			}
			if next := s.log.Next(); next <= max(want.State.Last, want.State.Issued) {
				t.Fatalf("%d is next, and may have been given out", next)
			}
			v, err := s.PutDocument(t.Context(), storage.Document{Collection: "new", Key: "k", Version: 0})
			must(t, err)
			if v < want.State.DocumentVersion {
				t.Fatalf("version %d may have been given out", v)
			}
			if _, err := os.Stat(filepath.Join(dir, layout.Format1Dir)); err == nil {
				t.Error("the old files are still there")
			}
			fill(t, s, storagetest.NewGenerator(9, testStart), 20, 5)
			closed(t, s)
			s = open(t, dir)
			if c, err := convert.New(dir, convert.Options{Logger: zap.NewNop()}); err != nil || c != nil {
				t.Fatalf("converted once more: %v", err)
			}
		})
	}
}

// A conversion that breaks off anywhere begins again, and an older version opens
// nothing meanwhile.
func TestConvertBreaksOff(t *testing.T) {
	want := oldStores(t)["Killed"]
	for name, breakOff := range map[string]func(t *testing.T, dir string){
		"before the manifest was replaced": func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, layout.Format1Dir), 0o700))
			must(t, os.Link(filepath.Join(dir, layout.MarkerFile), filepath.Join(dir, layout.Format1Dir, layout.MarkerFile)))
		},
		"before all files were moved": func(t *testing.T, dir string) {
			c, err := convert.New(dir, convert.Options{Logger: zap.NewNop()})
			must(t, err)
			must(t, c.Close())
			entries, err := os.ReadDir(filepath.Join(dir, layout.Format1Dir))
			must(t, err)
			for _, e := range entries {
				if e.Name() != layout.MarkerFile {
					must(t, os.Rename(filepath.Join(dir, layout.Format1Dir, e.Name()), filepath.Join(dir, e.Name())))
					return
				}
			}
		},
		"before the start": func(t *testing.T, dir string) {
			c, err := convert.New(dir, convert.Options{Logger: zap.NewNop()})
			must(t, err)
			must(t, c.Close())
		},
		"while it was copying": func(t *testing.T, dir string) {
			c, err := convert.New(dir, convert.Options{Logger: zap.NewNop()})
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			wantErr(t, c.Run(ctx), context.Canceled)
			must(t, os.MkdirAll(filepath.Join(dir, layout.LogDir), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, layout.LogDir, "00000000000000000001.log"), []byte("half"), 0o600))
			must(t, os.WriteFile(filepath.Join(dir, layout.DocumentsFile), []byte("half"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := unpackOld(t, "killed.tar.gz")
			breakOff(t, dir)
			if name != "before the manifest was replaced" {
				if db, err := bdg.Open(bdg.DefaultOptions(dir).WithLogger(nil).WithReadOnly(true)); err == nil {
					must(t, db.Close())
					t.Fatal("an older version would open the directory")
				}
			}
			_, err := Open(dir, testOptions())
			wantErr(t, err, storage.ErrFormat)
			convertStore(t, dir)
			s := open(t, dir)
			defer closed(t, s)
			holds(t, s, want)
		})
	}
}

// What an end between the last two steps left is removed at the next start.
func TestConvertEndsBeforeTheOldIsGone(t *testing.T) {
	dir := unpackOld(t, "killed.tar.gz")
	convertStore(t, dir)
	must(t, os.MkdirAll(filepath.Join(dir, layout.Format1Dir), 0o700))
	closed(t, open(t, dir))
	if _, err := os.Stat(filepath.Join(dir, layout.Format1Dir)); err == nil {
		t.Error("the old files are still there")
	}
}

func TestConvertNeedsSpace(t *testing.T) {
	dir := unpackOld(t, "killed.tar.gz")
	_, err := convert.New(dir, convert.Options{
		Logger: zap.NewNop(), FreeSpace: func(string) (int64, error) { return 1 << 10, nil },
	})
	wantErr(t, err, storage.ErrNoSpace)
	convertStore(t, dir) // nothing was changed
}

func TestConvertIsLocked(t *testing.T) {
	dir := unpackOld(t, "killed.tar.gz")
	c, err := convert.New(dir, convert.Options{Logger: zap.NewNop()})
	must(t, err)
	_, err = convert.New(dir, convert.Options{Logger: zap.NewNop()})
	wantErr(t, err, storage.ErrLocked)
	_, err = Open(dir, testOptions())
	wantErr(t, err, storage.ErrLocked)
	must(t, c.Close())
}
