package format1

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	bdg "github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// The files in testdata were written by the last version that wrote format 1
// (commit f69852e): a store as a killed process left it, a backup of two segments
// from a moment before, a store that was restored from that and went on, and one
// whose events were all pruned. The manifest says what that version read.
type manifest struct{ Killed, Backup, Restored, Empty manifestStore }

type manifestStore struct {
	State
	Events    []manifestEvent
	Documents []manifestDocument
	Next      string // of a backup
	Segments  int
}

type manifestEvent struct {
	Seq                                                       uint64
	ReceivedAt                                                time.Time
	WorkspaceID, Source, Type, Kind, WorkflowID, WorkflowName string
	AgentID, Status, Severity, ErrorMessage, CorrelationID    string
	ErrorMessageSize                                          int // where ErrorMessage is its beginning
	DedupKey, BodyDigest                                      string
	PayloadMismatch                                           bool
	ReplayOf                                                  uint64
	Size                                                      int
	ProcessingTime                                            time.Duration
	Details                                                   event.Details
}

type manifestDocument struct {
	Collection, Key, Value string
	Version                uint64
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Badger leaves these behind where it cannot open.
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).updateSize"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4/y.(*WaterMark).process"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*publisher).listenForUpdates"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"),
	)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("got error %v, want %v", err, want)
	}
}

func gunzip(tb testing.TB, name string) []byte {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	must(tb, err)
	z, err := gzip.NewReader(f)
	must(tb, err)
	b, err := io.ReadAll(z)
	must(tb, errors.Join(err, z.Close(), f.Close()))
	return b
}

func unpack(tb testing.TB, name string) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	r := tar.NewReader(bytes.NewReader(gunzip(tb, name)))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(tb, err)
		b, err := io.ReadAll(r)
		must(tb, err)
		must(tb, os.WriteFile(filepath.Join(dir, h.Name), b, 0o600))
	}
}

func readManifest(tb testing.TB) (m manifest) {
	tb.Helper()
	must(tb, json.Unmarshal(gunzip(tb, "manifest.json.gz"), &m))
	return m
}

func open1(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir, nil)
	must(tb, err)
	return s
}

var farOff = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// check compares a store with what the old version read.
func check(t *testing.T, dir string, want manifestStore) {
	t.Helper()
	s := open1(t, dir)
	if s.State() != want.State {
		t.Fatalf("the store stands at %+v, want %+v", s.State(), want.State)
	}
	n := 0
	var logged time.Time
	must(t, s.Events(t.Context(), farOff, func(e *event.Event) error {
		if n == len(want.Events) {
			return fmt.Errorf("event %d is one too many", e.Seq)
		}
		w := want.Events[n]
		n++
		got := describe(e)
		if w.ErrorMessageSize > 0 {
			got.ErrorMessageSize, got.ErrorMessage = len(got.ErrorMessage), got.ErrorMessage[:len(w.ErrorMessage)]
		}
		if !reflect.DeepEqual(got, w) {
			return fmt.Errorf("got %+v, want %+v", got, w)
		}
		if event.Digest(sha256.Sum256(e.Body)) != e.BodyDigest || len(e.Body) != e.Size {
			return fmt.Errorf("the body of event %d is another", e.Seq)
		}
		if e.LoggedAt.Before(logged) || e.LoggedAt.Before(e.ReceivedAt) {
			return fmt.Errorf("event %d of %v was logged at %v", e.Seq, e.ReceivedAt, e.LoggedAt)
		}
		logged = e.LoggedAt
		return nil
	}))
	if n != len(want.Events) {
		t.Fatalf("%d events, want %d", n, len(want.Events))
	}
	var docs, wantDocs []manifestDocument
	must(t, s.Documents(t.Context(), func(d storage.Document) error {
		docs = append(docs, manifestDocument{d.Collection, strings.ToValidUTF8(d.Key, "\ufffd"), string(d.Value), d.Version}) // as JSON has it
		return nil
	}))
	for _, d := range want.Documents {
		if !strings.HasSuffix(d.Collection, "_state") {
			wantDocs = append(wantDocs, d)
		}
	}
	// They come in the order of their collections' lengths.
	byName := func(docs []manifestDocument) map[string]manifestDocument {
		m := map[string]manifestDocument{}
		for _, d := range docs {
			m[d.Collection+" / "+d.Key] = d
		}
		return m
	}
	if len(docs) != len(wantDocs) || !reflect.DeepEqual(byName(docs), byName(wantDocs)) {
		t.Fatalf("got %d documents, want %d", len(docs), len(wantDocs))
	}
	must(t, s.Close())
}

func describe(e *event.Event) manifestEvent {
	return manifestEvent{
		Seq: e.Seq, ReceivedAt: e.ReceivedAt, WorkspaceID: e.WorkspaceID, Source: e.Source, Type: e.Type, Kind: string(e.Kind),
		WorkflowID: e.WorkflowID, WorkflowName: e.WorkflowName, AgentID: e.AgentID, Status: string(e.Status), Severity: e.Severity,
		ErrorMessage: e.ErrorMessage, CorrelationID: e.CorrelationID, DedupKey: e.DedupKey.String(), BodyDigest: e.BodyDigest.String(),
		PayloadMismatch: e.PayloadMismatch, ReplayOf: e.ReplayOf, Size: e.Size, ProcessingTime: e.ProcessingTime, Details: e.Details,
	}
}

// files are the contents of a directory but for the process id in its lock.
func files(tb testing.TB, dir string) map[string][32]byte {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	must(tb, err)
	sums := map[string][32]byte{}
	for _, e := range entries {
		if e.Name() == "LOCK" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(tb, err)
		sums[e.Name()] = sha256.Sum256(b)
	}
	return sums
}

func TestStores(t *testing.T) {
	m := readManifest(t)
	for name, want := range map[string]manifestStore{"restored.tar.gz": m.Restored, "empty.tar.gz": m.Empty, "killed.tar.gz": m.Killed} {
		t.Run(name, func(t *testing.T) {
			dir := unpack(t, name)
			before := files(t, dir)
			check(t, dir, want)
			if name != "killed.tar.gz" && !reflect.DeepEqual(files(t, dir), before) {
				t.Error("a store that was closed was written to")
			}
			check(t, dir, want)
		})
	}
}

// TestEmptyFiles: what a kill leaves between the making of a file and its first
// byte is in nobody's way.
func TestEmptyFiles(t *testing.T) {
	dir := unpack(t, "killed.tar.gz")
	for _, name := range []string{"00090.mem", "000090.vlog"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	check(t, dir, readManifest(t).Killed)
}

// TestManifestHasAll: the stores hold what they were made for.
func TestManifestHasAll(t *testing.T) {
	m := readManifest(t)
	var mismatch, replay, large, workspaces = 0, 0, 0, map[string]bool{}
	for _, e := range m.Killed.Events {
		workspaces[e.WorkspaceID] = true
		if e.PayloadMismatch {
			mismatch++
		}
		if e.ReplayOf != 0 {
			replay++
		}
		if e.Size > 256<<10 {
			large++
		}
	}
	if mismatch == 0 || replay == 0 || large < 2 || len(workspaces) < 3 || m.Killed.First == 1 || m.Restored.Issued < 1<<32 {
		t.Fatalf("%d mismatches, %d replays, %d large bodies, %d workspaces, from %d, restored to %d",
			mismatch, replay, large, len(workspaces), m.Killed.First, m.Restored.Issued)
	}
}

// TestLoggedAt: one clock that was ahead ages nothing that came after it.
func TestLoggedAt(t *testing.T) {
	s := open1(t, unpack(t, "restored.tar.gz"))
	defer func() { must(t, s.Close()) }()
	now := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	ahead, last := 0, time.Time{}
	must(t, s.Events(t.Context(), now, func(e *event.Event) error {
		if e.ReceivedAt.After(now) {
			ahead++
		}
		if e.LoggedAt.After(now) || e.LoggedAt.Before(last) || ahead == 0 && !e.LoggedAt.Equal(e.ReceivedAt) && e.LoggedAt.Before(e.ReceivedAt) {
			return fmt.Errorf("event %d of %v was logged at %v", e.Seq, e.ReceivedAt, e.LoggedAt)
		}
		last = e.LoggedAt
		return nil
	}))
	if ahead == 0 || !last.Equal(now) {
		t.Fatalf("%d events are ahead of the clock, the last was logged at %v", ahead, last)
	}
}

func TestBackup(t *testing.T) {
	m := readManifest(t)
	backup := gunzip(t, "backup.gz")
	end, err := CheckBackup(t.Context(), bytes.NewReader(backup))
	must(t, err)
	if want := (BackupEnd{Next: m.Backup.Next, Segments: m.Backup.Segments, Size: int64(len(backup))}); end != want {
		t.Fatalf("the backup ends at %+v, want %+v", end, want)
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	must(t, LoadBackup(t.Context(), bytes.NewReader(backup), dir, zap.NewNop()))
	check(t, dir, m.Backup)
	if LoadBackup(t.Context(), bytes.NewReader(backup), dir, nil) == nil {
		t.Error("loaded over what is there")
	}
	for _, at := range []int{0, 5, 20, segmentHead, segmentHead + 4, len(backup) / 2, len(backup) - 1} {
		_, err := CheckBackup(t.Context(), bytes.NewReader(backup[:at]))
		wantErr(t, err, ErrBackup)
		wantErr(t, LoadBackup(t.Context(), bytes.NewReader(backup[:at]), t.TempDir(), nil), ErrBackup)
	}
	rotten := bytes.Clone(backup)
	rotten[len(rotten)/3] ^= 1
	wantErr(t, LoadBackup(t.Context(), bytes.NewReader(rotten), t.TempDir(), nil), ErrBackup)
	_, err = CheckBackup(t.Context(), bytes.NewReader(append(bytes.Clone(backup), backup...)))
	wantErr(t, err, ErrBackup)
}

func TestRefused(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "nothing"), nil)
	wantErr(t, err, storage.ErrFormat)
	_, err = Open(t.TempDir(), nil)
	wantErr(t, err, storage.ErrFormat)

	foreign := t.TempDir()
	db, err := bdg.Open(options(foreign, nil))
	must(t, err)
	must(t, db.Update(func(txn *bdg.Txn) error { return txn.Set([]byte("something"), []byte("else")) }))
	must(t, db.Close())
	_, err = Open(foreign, nil)
	wantErr(t, err, storage.ErrFormat)

	dir := unpack(t, "restored.tar.gz")
	db, err = bdg.Open(options(dir, nil))
	must(t, err)
	_, err = Open(dir, nil)
	wantErr(t, err, storage.ErrLocked)
	must(t, db.Close())
}

// TestDamagedBlock: a block is checked beside the table that holds it.
func TestDamagedBlock(t *testing.T) {
	m := readManifest(t)
	dir := unpack(t, "restored.tar.gz")
	db, err := bdg.Open(options(dir, nil))
	must(t, err)
	last := uint64(0)
	must(t, db.Update(func(txn *bdg.Txn) error {
		b := newBlocks(txn)
		defer b.close()
		b.seek(m.Restored.First)
		b.next()
		key := b.it.Item().KeyCopy(nil)
		last, err = parseBlockKey(key)
		v, verr := b.it.Item().ValueCopy(nil)
		v[len(v)/2] ^= 1
		return errors.Join(err, verr, txn.Set(key, v))
	}))
	must(t, db.Close())
	s := open1(t, dir)
	defer func() { must(t, s.Close()) }()
	n := uint64(0)
	err = s.Events(t.Context(), farOff, func(*event.Event) error {
		n++
		return nil
	})
	wantErr(t, err, storage.ErrDamaged)
	var damage *storage.DamageError
	if !errors.As(err, &damage) || damage.Last != last || damage.First != m.Restored.First+n {
		t.Fatalf("after %d events: %v", n, err)
	}
}
