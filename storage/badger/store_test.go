package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bdg "github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("OSA_TEST_WRITER"); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

var testStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testOptions have no ballast: tests open many stores.
func testOptions() Options { return Options{Reserve: -1} }

func open(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir, testOptions())
	must(tb, err)
	return s
}

func closed(tb testing.TB, s *Store) {
	tb.Helper()
	must(tb, s.Close())
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

// fill commits n events in batches.
func fill(tb testing.TB, s *Store, gen *storagetest.Generator, n, batch int) []*event.Event {
	tb.Helper()
	all := make([]*event.Event, n)
	for i := range all {
		all[i] = gen.Next()
	}
	for i := 0; i < n; i += batch {
		_, err := s.CommitBatch(tb.Context(), all[i:min(i+batch, n)])
		must(tb, err)
	}
	return all
}

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, dir string) (storage.Store, error) { return Open(dir, testOptions()) })
}

func TestDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	closed(t, open(t, dir))
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Fatalf("the directory is %v", info.Mode())
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	defer closed(t, open(t, dir))
	_, err := Open(dir, testOptions())
	wantErr(t, err, storage.ErrLocked)
	if msg := err.Error(); !strings.Contains(msg, dir) || !strings.Contains(msg, fmt.Sprint(os.Getpid())) {
		t.Fatalf("%q names neither directory nor process", msg)
	}
}

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir))
	for _, contents := range []string{
		`{"format":3,"identity":"000102030405060708090a0b0c0d0e0f"}`, `{"format":2,"identity":"0001"}`, `{"format":2}`, `{`, ``,
	} {
		must(t, os.WriteFile(filepath.Join(dir, layout.StoreFile), []byte(contents), 0o600))
		_, err := Open(dir, testOptions())
		wantErr(t, err, storage.ErrFormat)
	}
	must(t, os.Remove(filepath.Join(dir, layout.StoreFile)))
	_, err := Open(dir, testOptions())
	wantErr(t, err, storage.ErrFormat) // a log, and nobody says whose
}

// Versions that kept everything in Badger must not open the directory: they would
// take it for empty.
func TestOlderVersionsRefuse(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir))
	db, err := bdg.Open(bdg.DefaultOptions(dir).WithLogger(nil))
	if err == nil {
		must(t, db.Close())
		t.Fatal("Badger opened the directory")
	}
	closed(t, open(t, dir))
}

// A store whose making was interrupted is made again.
func TestInterruptedMaking(t *testing.T) {
	dir := t.TempDir()
	must(t, layout.Mark(dir))
	s := open(t, dir)
	fill(t, s, storagetest.NewGenerator(1, testStart), 10, 10)
	closed(t, s)
	if s = open(t, dir); s.log.Last() != 10 {
		t.Fatalf("log ends at %d", s.log.Last())
	}
	closed(t, s)
}

// eventually polls what another goroutine does.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
	}
}

func TestFilter(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	all := fill(t, s, storagetest.NewGenerator(1, testStart), 3000, 100)
	ready := func(s *Store) bool {
		return s.filter.Ready()
	}
	for round := range 2 {
		eventually(t, func() bool { return ready(s) })
		wrong := 0
		other := storagetest.NewGenerator(2, testStart.Add(time.Hour))
		for _, e := range all {
			if !s.filter.MayContain(s.log.Seed().Key(e)) {
				t.Fatalf("round %d: a key of the log is taken for new", round)
			}
			if s.filter.MayContain(s.log.Seed().Key(other.Next())) {
				wrong++
			}
		}
		if wrong > 60 {
			t.Fatalf("%d of %d new keys are taken for known", wrong, len(all))
		}
		closed(t, s)
		s = open(t, dir) // and fills it from the segments
	}
	// What is committed while a filter is being filled is in it.
	eventually(t, func() bool { return ready(s) })
	next := s.filter.Begin(1)
	fresh := storagetest.NewGenerator(3, testStart.Add(2*time.Hour)).Next()
	_, err := s.CommitBatch(t.Context(), []*event.Event{fresh})
	must(t, err)
	if !next.Has(s.log.Seed().Key(fresh)) {
		t.Error("a key that was committed meanwhile is missing")
	}
	s.filter.End(false)
	closed(t, s)
}

// A sender that repeats what it sent long ago does not make the committer look for
// it: Prepare finds the original.
func TestPrepareFindsOriginals(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	all := fill(t, s, storagetest.NewGenerator(1, testStart), 500, 50)
	for _, e := range all[:100] {
		again := *e
		again.Seq = 0
		out, err := s.Prepare(t.Context(), &again)
		must(t, err)
		if !out.Duplicate || out.Seq != e.Seq {
			t.Fatalf("copy of %d: %+v", e.Seq, out)
		}
	}
}

// Large bodies are written aside before the commit, and read back from there.
func TestLargeBodies(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, testStart)
	var all []*event.Event
	var bodies [][]byte
	for i, size := range []int{layout.LargeBody, layout.LargeBody + 1, 9 << 20} {
		e := gen.Next()
		e.Body = storagetest.Filler(uint64(i), size)
		storagetest.Seal(e)
		all, bodies = append(all, e), append(bodies, e.Body)
		if i == 1 {
			continue // CommitBatch does it as well
		}
		_, err := s.Prepare(t.Context(), e)
		must(t, err)
		if aside := e.BodyRef != "" && e.Body == nil; aside != (size > layout.LargeBody) {
			t.Fatalf("body of %d bytes: reference %q", size, e.BodyRef)
		}
	}
	_, err := s.CommitBatch(t.Context(), all)
	must(t, err)
	for i, e := range all {
		got, err := s.Get(t.Context(), e.Seq)
		must(t, err)
		if string(got.Body) != string(bodies[i]) {
			t.Fatalf("body %d differs", i)
		}
	}
}

// Bodies that were put aside for nothing leave nothing behind.
func TestDiscard(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	e := storagetest.NewGenerator(1, testStart).Next()
	e.Body = storagetest.Filler(1, layout.LargeBody+1)
	storagetest.Seal(e)
	var copies []*event.Event
	for range 3 { // all at once: none finds another
		c := *e
		_, err := s.Prepare(t.Context(), &c)
		must(t, err)
		copies = append(copies, &c)
	}
	for i, c := range copies {
		out, err := s.CommitBatch(t.Context(), []*event.Event{c})
		must(t, err)
		if duplicate := out.Outcomes[0].Duplicate; duplicate != (i > 0) {
			t.Fatalf("copy %d: %+v", i, out)
		} else if duplicate {
			s.Discard(c)
		}
	}
	large, err := os.ReadDir(filepath.Join(s.dir, layout.LogDir, "large"))
	must(t, err)
	if len(large) != 1 {
		t.Fatalf("%d large bodies for one event", len(large))
	}
	_, err = s.Get(t.Context(), copies[0].Seq)
	must(t, err)
}
