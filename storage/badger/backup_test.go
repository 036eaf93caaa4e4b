package badger

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/backup"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

func restored(t *testing.T, data []byte) *Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	must(t, backup.Restore(t.Context(), bytes.NewReader(data), dir, zap.NewNop()))
	return open(t, dir)
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
	g, w := got.log.Bounds(), want.log.Bounds()
	if g.First != w.First || g.Last != w.Last {
		t.Fatalf("bounds %+v, want %+v", g, w)
	}
	for seq := w.First; seq <= w.Last; seq++ {
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
		var g, w storage.Page
		eventually(t, func() (ok bool) { // the index of what was restored is made anew
			var err error
			g, err = got.Query(t.Context(), q)
			return err == nil
		})
		w, err := want.Query(t.Context(), q)
		must(t, err)
		if !slices.EqualFunc(g.Events, w.Events, func(a, b *event.Event) bool { return a.Seq == b.Seq }) {
			t.Fatalf("agent %s: %d events, want %d", agent, len(g.Events), len(w.Events))
		}
	}
}

func TestBackup(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, testStart)
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
	_, err = s.log.PutLarge(storagetest.Filler(3, 1<<20)) // of a commit in progress
	must(t, err)
	full, next := backupOf(t, s, "")

	r := restored(t, full)
	sameLog(t, r, s)
	// The next event's id is none that the old store may have given out.
	fresh := gen.Next()
	out, err := r.CommitBatch(t.Context(), []*event.Event{fresh, all[5].WithoutBody()})
	must(t, err)
	if out.Outcomes[0].Seq != big.Seq+1+layout.RestoreJump || out.Outcomes[1] != (storage.Outcome{Seq: all[5].Seq, Duplicate: true}) {
		t.Fatalf("outcomes after the restore: %+v", out)
	}
	if b := r.log.Bounds(); !slices.Equal(b.Skipped, []storage.Range{{First: big.Seq + 1, Last: big.Seq + layout.RestoreJump}}) {
		t.Fatalf("what a restore left out: %+v", b.Skipped)
	}
	old, err := s.GetDocument(t.Context(), "keys", "kept")
	must(t, err)
	if v, err := r.PutDocument(t.Context(), storage.Document{Collection: "keys", Key: "kept", Version: old.Version}); err != nil || v < layout.RestoreJump {
		t.Fatalf("version %d after %d, %v", v, old.Version, err)
	}
	large, err := os.ReadDir(filepath.Join(r.dir, layout.LogDir, "large"))
	must(t, err)
	if len(large) != 1 {
		t.Fatalf("%d large bodies", len(large))
	}
	closed(t, r)

	// What changed, deletions and retention included.
	fill(t, s, gen, 300, 64)
	must(t, s.DeleteDocument(t.Context(), "keys", "revoked", storage.AnyVersion))
	_, err = s.Prune(t.Context(), all[len(all)/2].LoggedAt)
	must(t, err)
	put("late", "1")
	part, _ := backupOf(t, s, next)
	if len(part) > len(full)*2/3 {
		t.Fatalf("the second backup takes %d bytes, the first %d", len(part), len(full))
	}
	r = restored(t, append(slices.Clone(full), part...))
	defer closed(t, r)
	sameLog(t, r, s)
	_, err = r.GetDocument(t.Context(), "keys", "revoked")
	wantErr(t, err, storage.ErrNotFound)
	_, err = r.GetDocument(t.Context(), "keys", "late")
	must(t, err)
}

// Sealed segments are copied as they are, and an increment begins in the middle of
// one.
func TestBackupOfSealedSegments(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, testStart)
	fill(t, s, gen, 30_000, 500)
	full, next := backupOf(t, s, "")
	fill(t, s, gen, 50_000, 500) // the first segment is full, and sealed
	must(t, s.log.WaitWritable(t.Context()))
	part, _ := backupOf(t, s, next)
	both := append(slices.Clone(full), part...)
	r := restored(t, both)
	defer closed(t, r)
	got, want := r.log.Bounds(), s.log.Bounds()
	if got.First != want.First || got.Last != want.Last {
		t.Fatalf("restored %+v of %+v", got, want)
	}
	n := uint64(0)
	must(t, r.Scan(t.Context(), 0, math.MaxUint64, func(e *event.Event) bool {
		n++
		return e.Seq == n
	}))
	if n != want.Last {
		t.Fatalf("scan ended at %d of %d", n, want.Last)
	}
}

func TestRestoreRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	fill(t, s, storagetest.NewGenerator(1, testStart), 2000, 100)
	full, next := backupOf(t, s, "")
	part, _ := backupOf(t, s, next)
	flipped := slices.Clone(full)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{
		"nothing": {}, "text": []byte("a backup, honestly, of more than sixty bytes, which is what a head takes"), "half": full[:len(full)/2],
		"all but the end": full[:len(full)-1], "without its end": full[:len(full)-backup.EndSize], "damaged": flipped,
		"a part alone": part, "twice": append(slices.Clone(full), full...), "with something behind": append(slices.Clone(full), 1),
	} {
		dir := filepath.Join(t.TempDir(), "d")
		err := backup.Restore(t.Context(), bytes.NewReader(data), dir, zap.NewNop())
		if wantErr(t, err, backup.ErrInvalid); err == nil {
			t.Fatal(name)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Fatalf("%s: something is left in %s", name, dir)
		}
	}
	if err := backup.Restore(t.Context(), bytes.NewReader(full), s.dir, zap.NewNop()); err == nil {
		t.Fatal("restored over a store")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, backup.Restore(ctx, bytes.NewReader(full), filepath.Join(t.TempDir(), "d"), zap.NewNop()), context.Canceled)
	_, err := s.Backup(ctx, &bytes.Buffer{}, "")
	wantErr(t, err, context.Canceled)
}

// TestCheckCutBackup: wherever the last part was cut off, the ones before it are
// whole, and where they end is known.
func TestCheckCutBackup(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(2, testStart)
	fill(t, s, gen, 100, 10)
	full, next := backupOf(t, s, "")
	fill(t, s, gen, 30, 10)
	second, last := backupOf(t, s, next)
	both := append(slices.Clone(full), second...)
	for size := len(full); size < len(both); size += 1 + len(second)/50 {
		end, err := backup.Check(t.Context(), bytes.NewReader(both[:size]))
		if size > len(full) {
			wantErr(t, err, backup.ErrCut)
		} else {
			must(t, err)
		}
		if want := (backup.End{Next: next, Segments: 1, Size: int64(len(full))}); end != want {
			t.Fatalf("cut at %d of %d: %+v, want %+v", size, len(both), end, want)
		}
	}
	end, err := backup.Check(t.Context(), bytes.NewReader(both))
	must(t, err)
	if want := (backup.End{Next: last, Segments: 2, Size: int64(len(both))}); end != want {
		t.Fatalf("whole: %+v, want %+v", end, want)
	}
}

// TestPoint: a backup goes on from this store's states and from no other's.
func TestPoint(t *testing.T) {
	s, other := open(t, t.TempDir()), open(t, t.TempDir())
	defer closed(t, s)
	defer closed(t, other)
	fill(t, s, storagetest.NewGenerator(3, testStart), 100, 10)
	fill(t, other, storagetest.NewGenerator(4, testStart), 200, 10)
	full, next := backupOf(t, s, "")
	again := restored(t, full)
	defer closed(t, again)
	fill(t, again, storagetest.NewGenerator(5, testStart), 50, 10)
	ahead, err := backup.ParsePosition(next)
	must(t, err)
	rewritten := ahead
	ahead.Seq += 1000
	rewritten.Check++
	for name, of := range map[string]struct {
		s     *Store
		point string
	}{
		"another store's": {other, next}, "the lost store's": {again, next}, "a state that is lost": {s, ahead.String()},
		"a state that was put back and used anew": {s, rewritten.String()}, "one of format 1": {s, s.identity.String() + "-17"},
		"a number": {s, "17"}, "text": {s, "yesterday"}, "with something behind": {s, next + "0x"},
	} {
		var buf bytes.Buffer
		_, err := of.s.Backup(t.Context(), &buf, of.point)
		if wantErr(t, err, storage.ErrBackupPosition); err == nil || buf.Len() > 0 {
			t.Errorf("%s: %d bytes were written", name, buf.Len())
		}
	}
	part, _ := backupOf(t, s, next)
	copy(part[len("OSAGWBK3"):], bytes.Repeat([]byte{7}, 16))
	wantErr(t, backup.Restore(t.Context(), bytes.NewReader(append(full, part...)), filepath.Join(t.TempDir(), "d"), zap.NewNop()), backup.ErrInvalid)
}

// TestBackupOfDamage: a store that cannot be read is not backed up.
func TestBackupOfDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, storagetest.NewGenerator(1, testStart), 4000, 100)
	closed(t, s)
	segments, err := filepath.Glob(filepath.Join(dir, layout.LogDir, "*.log"))
	must(t, err)
	segment, err := os.OpenFile(segments[0], os.O_RDWR, 0)
	must(t, err)
	_, err = segment.WriteAt(make([]byte, 100), 100<<10)
	must(t, err)
	must(t, segment.Close())
	s = open(t, dir)
	defer closed(t, s)
	_, err = s.Backup(t.Context(), &bytes.Buffer{}, "")
	wantErr(t, err, storage.ErrDamaged)
}

// TestBackupWhileWriting: parts that follow on each other leave nothing out of
// what is committed while they are taken.
func TestBackupWhileWriting(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, testStart)
	fill(t, s, gen, 4000, 16)
	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for writing.Err() == nil {
			if _, err := s.CommitBatch(t.Context(), []*event.Event{gen.Next()}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var all bytes.Buffer
	next := ""
	for range 30 {
		part, end := backupOf(t, s, next)
		all.Write(part)
		next = end
	}
	stop()
	writer.Wait()
	last, _ := backupOf(t, s, next)
	all.Write(last)
	r := restored(t, all.Bytes())
	defer closed(t, r)
	sameLog(t, r, s)
}

// A backup ends when the store closes, whatever its reader does.
func TestBackupEndsWithTheStore(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, storagetest.NewGenerator(1, testStart), 2000, 100)
	begun := make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := s.Backup(t.Context(), writerFunc(func(p []byte) (int, error) {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-s.inflight.closing.Done()
			return len(p), nil
		}), "")
		done <- err
	}()
	<-begun
	closing := make(chan error)
	go func() { closing <- s.Close() }()
	wantErr(t, <-done, storage.ErrClosed)
	must(t, <-closing)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
