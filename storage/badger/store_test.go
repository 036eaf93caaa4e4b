package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("OSA_TEST_WRITER"); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if benchLog.dir != "" {
			_ = os.RemoveAll(benchLog.dir)
		}
		os.Exit(code)
	}))
}

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

// fill commits n events in batches and projects them.
func fill(tb testing.TB, s *Store, gen *storagetest.Generator, n, batch int) []*event.Event {
	tb.Helper()
	all := make([]*event.Event, n)
	for i := range all {
		all[i] = gen.Next()
	}
	for i := 0; i < n; i += batch {
		part := all[i:min(i+batch, n)]
		_, err := s.CommitBatch(tb.Context(), part)
		must(tb, err)
		must(tb, s.Project(tb.Context(), storage.Projection{
			From: s.projected.Load(), Through: part[len(part)-1].Seq, Events: part,
		}))
	}
	return all
}

// keysOf counts the store's keys by kind.
func keysOf(tb testing.TB, s *Store) map[byte]int {
	tb.Helper()
	n := map[byte]int{}
	must(tb, s.db.View(func(txn *bdg.Txn) error {
		return eachKey(txn, nil, func(key []byte) error {
			n[key[0]]++
			return nil
		})
	}))
	return n
}

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, dir string) storage.Store { return open(t, dir) })
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
	s := open(t, dir)
	must(t, s.update(true, func(txn *bdg.Txn) error { return setUints(txn, metaFormat, formatNumber+1) }))
	closed(t, s)
	_, err := Open(dir, testOptions())
	wantErr(t, err, storage.ErrFormat)

	foreign := t.TempDir()
	db, err := bdg.Open(badgerOptions(foreign, zap.NewNop()))
	must(t, err)
	must(t, db.Update(func(txn *bdg.Txn) error { return txn.Set([]byte("something"), []byte("else")) }))
	must(t, db.Close())
	_, err = Open(foreign, testOptions())
	wantErr(t, err, storage.ErrFormat)
}

// What an interrupted commit staged goes at the next start, and nothing else does.
func TestStagedPartsAreSwept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := storagetest.NewGenerator(1, benchStart).Next()
	e.Body = storagetest.Filler(1, 700<<10)
	storagetest.Seal(e)
	_, err := s.CommitBatch(t.Context(), []*event.Event{e})
	must(t, err)
	before := keysOf(t, s)
	for range 3 {
		_, err := s.stage(storagetest.Filler(2, 3<<20))
		must(t, err)
	}
	if n := keysOf(t, s); n[kindMarker] != 3 || n[kindChunk] != before[kindChunk]+36 {
		t.Fatalf("staged: %v", n)
	}
	closed(t, s)
	s = open(t, dir)
	defer closed(t, s)
	if n := keysOf(t, s); n[kindMarker] != 0 || n[kindChunk] != before[kindChunk] {
		t.Fatalf("after the sweep: %v, before: %v", n, before)
	}
	got, err := s.Get(t.Context(), e.Seq)
	must(t, err)
	if !bytes.Equal(got.Body, e.Body) {
		t.Fatal("the sweep took a committed body")
	}
}

// Few keys an event: that is what its price is.
func TestKeysPerEvent(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	const events = 2 * bucketSize
	fill(t, s, storagetest.NewGenerator(1, benchStart), events, 64)
	n := keysOf(t, s)
	if n[kindDedup] != events || n[kindBlock] > events/60 || n[kindBodies] > events/60 || n[kindPosting] > events/3 {
		t.Fatalf("keys of %d events: %v", events, n)
	}
}

func TestPruneLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, benchStart)
	all := fill(t, s, gen, 3*bucketSize+100, 150)
	later := all[len(all)-1].ReceivedAt.Add(time.Hour)
	for more := true; more; {
		var err error
		_, more, err = s.Prune(t.Context(), later, math.MaxUint64, 700)
		must(t, err)
	}
	n := keysOf(t, s)
	if n[kindBlock]+n[kindBodies]+n[kindChunk]+n[kindDedup]+n[kindVariant] != 0 {
		t.Fatalf("left of the log: %v", n)
	}
	if n[kindTimes] != 1 {
		t.Fatalf("the bucket that goes on is the only one to stay: %v", n)
	}
	// It goes with the events that end it.
	all = fill(t, s, gen, bucketSize, 150)
	_, _, err := s.Prune(t.Context(), all[len(all)-1].ReceivedAt.Add(time.Hour), math.MaxUint64, 1<<20)
	must(t, err)
	if err := s.db.View(func(txn *bdg.Txn) error {
		return eachKey(txn, []byte{kindPosting}, func(key []byte) error {
			if _, bucket, err := parsePostingKey(key); err != nil || bucket < bucketOf(s.first.Load()) {
				return fmt.Errorf("%q is left: %w", key, err)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}

func TestQueryBudget(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, benchStart)
	// Dates that no bucket can rule out and no event has: one in between.
	const n = queryEvents + 3000
	batch := make([]*event.Event, 0, 250)
	for i := range n {
		e := gen.Next()
		e.ReceivedAt, e.Body = benchStart.Add(time.Duration(i%2)*time.Hour), []byte("{}")
		storagetest.Seal(e)
		if batch = append(batch, e); len(batch) == cap(batch) || i == n-1 {
			_, err := s.CommitBatch(t.Context(), batch)
			must(t, err)
			batch = batch[:0]
		}
	}
	must(t, s.Project(t.Context(), projectionOf(t, s)))
	for _, ascending := range []bool{false, true} {
		q := storage.Query{Limit: 10, Ascending: ascending, Filter: event.Filter{
			Since: benchStart.Add(time.Minute), Until: benchStart.Add(59 * time.Minute),
		}}
		page, err := s.Query(t.Context(), q)
		must(t, err)
		if len(page.Events) != 0 || page.Next == 0 {
			t.Fatalf("%d events and next %d: the page should have ended early", len(page.Events), page.Next)
		}
		q.After = page.Next
		if page, err = s.Query(t.Context(), q); err != nil || page.Next != 0 {
			t.Fatalf("second page: next %d, %v", page.Next, err)
		}
	}
}

func projectionOf(t *testing.T, s *Store) storage.Projection {
	t.Helper()
	p := storage.Projection{From: s.projected.Load(), Through: s.last.Load()}
	must(t, s.Scan(t.Context(), p.From, p.Through, func(e *event.Event) bool {
		p.Events = append(p.Events, e)
		return true
	}))
	return p
}

func TestDamageIsFound(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	all := fill(t, s, storagetest.NewGenerator(1, benchStart), 64, 64)
	last := all[63].Seq
	for _, kind := range []byte{kindBodies, kindBlock} {
		key := seqKey(kind, last)
		must(t, s.update(false, func(txn *bdg.Txn) error {
			item, err := txn.Get(key)
			if err != nil {
				return err
			}
			v, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			v[len(v)/2] ^= 1
			return txn.Set(key, v)
		}))
		_, err := s.Get(t.Context(), all[10].Seq)
		wantErr(t, err, event.ErrCorrupt)
	}
	wantErr(t, s.Scan(t.Context(), 0, last, func(*event.Event) bool { return true }), event.ErrCorrupt)
}

func TestSieve(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	all := fill(t, s, storagetest.NewGenerator(1, benchStart), 3000, 100)
	ready := func(s *Store) bool {
		s.sieve.mu.Lock()
		defer s.sieve.mu.Unlock()
		return s.sieve.now != nil && s.sieve.next == nil
	}
	for round := range 2 {
		eventually(t, func() bool { return ready(s) })
		wrong := 0
		other := storagetest.NewGenerator(2, benchStart.Add(time.Hour))
		for _, e := range all {
			if !s.sieve.admit(&e.DedupKey) {
				t.Fatalf("round %d: a key of the log is taken for new", round)
			}
			if s.sieve.now.has(other.Next().DedupKey[:]) {
				wrong++
			}
		}
		if wrong > 60 {
			t.Fatalf("%d of %d new keys are taken for known", wrong, len(all))
		}
		closed(t, s)
		s = open(t, dir) // and fills it from the store
	}
	// What is committed while a filter is being filled is in it.
	eventually(t, func() bool { return ready(s) })
	next := newBloom(1)
	s.sieve.mu.Lock()
	s.sieve.next = next
	s.sieve.mu.Unlock()
	fresh := storagetest.NewGenerator(3, benchStart.Add(2*time.Hour)).Next()
	_, err := s.CommitBatch(t.Context(), []*event.Event{fresh})
	must(t, err)
	s.sieve.mu.Lock()
	if !next.has(fresh.DedupKey[:]) {
		t.Error("a key that was committed meanwhile is missing")
	}
	s.sieve.next = nil
	s.sieve.mu.Unlock()
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

// TestSyncFails: after a sync that failed nothing is acknowledged, whatever the
// next one would say. Opened anew, the store goes on.
func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put := func(key string) error {
		_, err := s.PutDocument(t.Context(), storage.Document{Collection: "c", Key: key, Value: []byte("v"), Version: storage.AnyVersion})
		return err
	}
	must(t, put("before"))
	_, pipe, err := os.Pipe() // which cannot be synced
	must(t, err)
	file := s.wal.fd
	s.wal.fd = pipe
	if put("unsynced") == nil {
		t.Fatal("acknowledged without a sync")
	}
	s.wal.fd = file
	if s.wal.sync() == nil || !s.gate.hasFailed() {
		t.Fatal("the next sync makes it good")
	}
	if put("after") == nil {
		t.Fatal("acknowledged behind what may not be on disk")
	}
	if _, err := s.CommitBatch(t.Context(), []*event.Event{storagetest.NewGenerator(1, benchStart).Next()}); err == nil {
		t.Fatal("committed behind what may not be on disk")
	}
	must(t, errors.Join(s.Close(), pipe.Close()))
	s = open(t, dir)
	must(t, put("again"))
	closed(t, s)
}
