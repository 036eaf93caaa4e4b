package badger

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

func restored(t *testing.T, backup []byte) *Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	must(t, Restore(t.Context(), bytes.NewReader(backup), dir, testOptions()))
	return open(t, dir)
}

// compacted leaves nothing of what was deleted in the store in dir, which is
// closed.
func compacted(t *testing.T, dir string) {
	t.Helper()
	db, err := bdg.Open(badgerOptions(dir, testOptions().withDefaults().Logger).WithCompactL0OnClose(true))
	must(t, err)
	must(t, db.Close())
	db, err = bdg.Open(badgerOptions(dir, testOptions().withDefaults().Logger))
	must(t, err)
	for _, table := range db.Tables() {
		if table.Level == 0 {
			t.Fatal("level 0 was not compacted")
		}
	}
	must(t, db.Close())
}

// pruneAll forgets all events.
func pruneAll(t *testing.T, s *Store, all []*event.Event) {
	t.Helper()
	for more := true; more; {
		var err error
		_, more, err = s.Prune(t.Context(), all[len(all)-1].ReceivedAt.Add(time.Hour), math.MaxUint64, 1000)
		must(t, err)
	}
}

func backupOf(t *testing.T, s *Store, since string) ([]byte, string) {
	t.Helper()
	var buf bytes.Buffer
	next, err := s.Backup(t.Context(), &buf, since)
	must(t, err)
	return buf.Bytes(), next
}

// sameLog compares everything that can be read of two logs.
func sameLog(t *testing.T, got, want *Store) {
	t.Helper()
	if got.bounds() != want.bounds() || got.projected.Load() != want.projected.Load() {
		t.Fatalf("bounds %+v projected %d, want %+v and %d", got.bounds(), got.projected.Load(), want.bounds(), want.projected.Load())
	}
	for seq := want.first.Load(); seq <= want.last.Load(); seq++ {
		w, err1 := want.Get(t.Context(), seq)
		g, err2 := got.Get(t.Context(), seq)
		must(t, err1)
		must(t, err2)
		if !bytes.Equal(g.Body, w.Body) || g.DedupKey != w.DedupKey || g.PayloadMismatch != w.PayloadMismatch {
			t.Fatalf("event %d differs", seq)
		}
	}
	for _, agent := range storagetest.Agents {
		q := storage.Query{Limit: 10_000, Filter: event.Filter{AgentIDs: []string{agent}, WorkspaceID: "ws_main"}}
		g, err1 := got.Query(t.Context(), q)
		w, err2 := want.Query(t.Context(), q)
		must(t, err1)
		must(t, err2)
		if !slices.EqualFunc(g.Events, w.Events, func(a, b *event.Event) bool { return a.Seq == b.Seq }) {
			t.Fatalf("agent %s: %d events, want %d", agent, len(g.Events), len(w.Events))
		}
	}
}

func TestBackup(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, benchStart)
	all := fill(t, s, gen, 700, 64)
	big := gen.Next()
	big.Body = storagetest.Filler(1, 2<<20)
	storagetest.Seal(big)
	_, err := s.CommitBatch(t.Context(), []*event.Event{big})
	must(t, err)
	put := func(key, value string) {
		_, err := s.PutDocument(t.Context(), storage.Document{Collection: "keys", Key: key, Value: []byte(value), Version: storage.AnyVersion})
		must(t, err)
	}
	put("kept", "1")
	put("revoked", "1")
	_, err = s.stage(storagetest.Filler(3, 1<<20)) // of a commit in progress
	must(t, err)
	full, next := backupOf(t, s, "")

	r := restored(t, full)
	sameLog(t, r, s)
	// The next event's id is none that the old store may have given out.
	fresh := gen.Next()
	out, err := r.CommitBatch(t.Context(), []*event.Event{fresh, all[5].WithoutBody()})
	must(t, err)
	if out[0].Seq != big.Seq+1+restoreJump || out[1] != (storage.Outcome{Seq: all[5].Seq, Duplicate: true}) {
		t.Fatalf("outcomes after the restore: %+v", out)
	}
	old, err := s.GetDocument(t.Context(), "keys", "kept")
	must(t, err)
	if v, err := r.PutDocument(t.Context(), storage.Document{Collection: "keys", Key: "kept", Version: old.Version}); err != nil || v < restoreJump {
		t.Fatalf("version %d after %d, %v", v, old.Version, err)
	}
	if n := keysOf(t, r); n[kindMarker] != 0 || n[kindChunk] != 8 {
		t.Fatalf("parts that were staged for nobody: %v", n)
	}
	closed(t, r)

	// What changed, deletions and retention included.
	fill(t, s, gen, 300, 64)
	must(t, s.DeleteDocument(t.Context(), "keys", "revoked", storage.AnyVersion))
	_, _, err = s.Prune(t.Context(), all[len(all)-1].ReceivedAt, math.MaxUint64, 400)
	must(t, err)
	put("late", "1")
	part, _ := backupOf(t, s, next)
	if len(part) > len(full)/2 {
		t.Fatalf("the second backup takes %d bytes, the first %d", len(part), len(full))
	}
	r = restored(t, append(slices.Clone(full), part...))
	defer closed(t, r)
	sameLog(t, r, s)
	_, err = r.GetDocument(t.Context(), "keys", "revoked")
	wantErr(t, err, storage.ErrNotFound)
	_, err = r.GetDocument(t.Context(), "keys", "late")
	must(t, err)
	for name, want := range keysOf(t, s) {
		if got := keysOf(t, r)[name]; name != kindMarker && name != kindChunk && name != kindMeta && got != want {
			t.Errorf("%d keys of kind %q, want %d", got, name, want)
		}
	}
}

// A deletion that Badger has compacted away does not bring back what it deleted.
func TestBackupAfterCompaction(t *testing.T) {
	s := open(t, t.TempDir())
	defer func() { closed(t, s) }()
	gen := storagetest.NewGenerator(1, benchStart)
	all := fill(t, s, gen, 2*bucketSize+500, 128)
	_, err := s.PutDocument(t.Context(), storage.Document{Collection: "keys", Key: "revoked", Value: []byte("x")})
	must(t, err)
	full, next := backupOf(t, s, "")
	must(t, s.DeleteDocument(t.Context(), "keys", "revoked", storage.AnyVersion))
	pruneAll(t, s, all)
	again := gen.Next()
	_, err = s.CommitBatch(t.Context(), []*event.Event{again})
	must(t, err)
	closed(t, s)
	compacted(t, s.dir)
	s = open(t, s.dir)
	part, _ := backupOf(t, s, next)
	r := restored(t, append(full, part...))
	defer closed(t, r)
	sameLog(t, r, s)
	if n := keysOf(t, r); n[kindBlock] != 1 || n[kindDedup] != 1 {
		t.Fatalf("back again: %v", n)
	}
	_, err = r.GetDocument(t.Context(), "keys", "revoked")
	wantErr(t, err, storage.ErrNotFound)
}

func TestSettleRemovesWhatCameBack(t *testing.T) {
	s := open(t, t.TempDir())
	gen := storagetest.NewGenerator(1, benchStart)
	fill(t, s, gen, 3*bucketSize, 200)
	// The log begins in the third bucket, and nothing was deleted.
	first := uint64(2*bucketSize + 1)
	must(t, s.update(true, func(txn *bdg.Txn) error { return setUints(txn, metaLog, first, s.last.Load(), s.issued.Load()) }))
	closed(t, s)
	db, err := bdg.Open(badgerOptions(s.dir, s.log))
	must(t, err)
	must(t, settle(db))
	must(t, db.Close())
	s = open(t, s.dir)
	defer closed(t, s)
	n := keysOf(t, s)
	live := int(s.last.Load() - s.first.Load() + 1)
	if s.first.Load() < first-200 || n[kindDedup] > live || n[kindTimes] != 2 {
		t.Fatalf("log from %d, %d events, keys %v", s.first.Load(), live, n)
	}
}

func TestRestoreRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	fill(t, s, storagetest.NewGenerator(1, benchStart), 2000, 100)
	full, next := backupOf(t, s, "")
	part, _ := backupOf(t, s, next)
	flipped := slices.Clone(full)
	flipped[len(flipped)/2] ^= 1
	for name, backup := range map[string][]byte{
		"nothing": {}, "text": []byte("a backup, honestly, of more than sixteen bytes"), "half": full[:len(full)/2], "all but the end": full[:len(full)-1],
		"without its end": full[:len(full)-16], "damaged": flipped, "a part alone": part, "twice": append(slices.Clone(full), full...),
		"with something behind": append(slices.Clone(full), 1),
	} {
		dir := filepath.Join(t.TempDir(), "d")
		err := Restore(t.Context(), bytes.NewReader(backup), dir, testOptions())
		if wantErr(t, err, ErrBackup); err == nil {
			t.Fatal(name)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Fatalf("%s: something is left in %s", name, dir)
		}
	}
	if err := Restore(t.Context(), bytes.NewReader(full), s.dir, testOptions()); err == nil {
		t.Fatal("restored over a store")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, Restore(ctx, bytes.NewReader(full), filepath.Join(t.TempDir(), "d"), testOptions()), context.Canceled)
	_, err := s.Backup(ctx, &bytes.Buffer{}, "")
	wantErr(t, err, context.Canceled)
}

// TestCheckCutBackup: wherever the last segment was cut off, the ones before it
// are whole, and where they end is known.
func TestCheckCutBackup(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(2, benchStart)
	fill(t, s, gen, 100, 10)
	full, next := backupOf(t, s, "")
	fill(t, s, gen, 30, 10)
	second, last := backupOf(t, s, next)
	both := append(slices.Clone(full), second...)
	for size := len(full); size < len(both); size += 1 + len(second)/50 {
		end, err := CheckBackup(t.Context(), bytes.NewReader(both[:size]))
		if size > len(full) {
			wantErr(t, err, ErrBackupCut)
		} else {
			must(t, err)
		}
		if want := (BackupEnd{Next: next, Segments: 1, Size: int64(len(full))}); end != want {
			t.Fatalf("cut at %d of %d: %+v, want %+v", size, len(both), end, want)
		}
	}
	end, err := CheckBackup(t.Context(), bytes.NewReader(both))
	must(t, err)
	if want := (BackupEnd{Next: last, Segments: 2, Size: int64(len(both))}); end != want {
		t.Fatalf("whole: %+v, want %+v", end, want)
	}
}

// TestPoint: a backup goes on from this store's states and from no other's.
func TestPoint(t *testing.T) {
	s, other := open(t, t.TempDir()), open(t, t.TempDir())
	defer closed(t, s)
	defer closed(t, other)
	fill(t, s, storagetest.NewGenerator(3, benchStart), 100, 10)
	fill(t, other, storagetest.NewGenerator(4, benchStart), 200, 10)
	full, next := backupOf(t, s, "")
	again := restored(t, full)
	defer closed(t, again)
	fill(t, again, storagetest.NewGenerator(5, benchStart), 50, 10)
	ahead, err := parsePoint(next)
	must(t, err)
	ahead.version += 1000
	for name, of := range map[string]struct {
		s     *Store
		point string
	}{
		"another store's": {other, next}, "the lost store's": {again, next}, "a state that is lost": {s, ahead.String()},
		"a version": {s, "17"}, "text": {s, "yesterday"}, "with something behind": {s, next + "0x"},
	} {
		var buf bytes.Buffer
		_, err := of.s.Backup(t.Context(), &buf, of.point)
		if wantErr(t, err, storage.ErrPoint); err == nil || buf.Len() > 0 {
			t.Errorf("%s: %d bytes were written", name, buf.Len())
		}
	}
	part, _ := backupOf(t, s, next)
	copy(part[len(backupMagic):], bytes.Repeat([]byte{7}, 16))
	wantErr(t, Restore(t.Context(), bytes.NewReader(append(full, part...)), filepath.Join(t.TempDir(), "d"), testOptions()), ErrBackup)
}

// TestPointAfterDeletions: a version that only deletions had is not given out
// again once they are compacted away.
func TestPointAfterDeletions(t *testing.T) {
	s := open(t, t.TempDir())
	defer func() { closed(t, s) }()
	gen := storagetest.NewGenerator(1, benchStart)
	all := fill(t, s, gen, 2*bucketSize+6, 100)
	pruneAll(t, s, all)
	must(t, s.deleteKeys([][]byte{{kindChunk, 1}, {kindChunk, 2}}))
	full, next := backupOf(t, s, "")
	closed(t, s)
	compacted(t, s.dir)
	s = open(t, s.dir)
	fill(t, s, gen, 2, 1)
	part, _ := backupOf(t, s, next)
	r := restored(t, append(full, part...))
	defer closed(t, r)
	sameLog(t, r, s)
}

// TestBackupOfDamage: a store that cannot be read is not backed up.
func TestBackupOfDamage(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, storagetest.NewGenerator(1, benchStart), 4000, 100)
	closed(t, s)
	tables, err := filepath.Glob(filepath.Join(s.dir, "*.sst"))
	must(t, err)
	table, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	must(t, err)
	_, err = table.WriteAt(make([]byte, 100), 100<<10)
	must(t, err)
	must(t, table.Close())
	s = open(t, s.dir)
	defer closed(t, s)
	if _, err := s.Backup(t.Context(), &bytes.Buffer{}, ""); err == nil {
		t.Error("a damaged store was backed up")
	}
}
