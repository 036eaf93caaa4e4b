//go:build linux

package badger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/table"
)

const patchKeys = 2000

func patchKey(i int) []byte { return fmt.Appendf(nil, "key %06d", i) }

// openPatched compacts nothing but what a test asks for.
func openPatched(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(DefaultOptions(dir).WithLogger(nil).WithNumCompactors(0).
		WithMemTableSize(1 << 20).WithValueThreshold(64 << 10).WithBaseTableSize(256 << 10).
		WithBaseLevelSize(1 << 20).WithNumLevelZeroTables(1).WithNumLevelZeroTablesStall(200))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// fillPatched writes all keys anew, and leaves them in tables of level 0.
func fillPatched(t *testing.T, dir string) {
	t.Helper()
	db := openPatched(t, dir)
	batch := db.NewWriteBatch()
	for i := range patchKeys {
		value := make([]byte, 1024)
		for j := range value {
			value[j] = byte(rand.Uint32())
		}
		if err := batch.Set(patchKey(i), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(batch.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func checkPatched(t *testing.T, db *DB, when string) {
	t.Helper()
	missing := 0
	err := db.View(func(txn *Txn) error {
		for i := range patchKeys {
			switch _, err := txn.Get(patchKey(i)); {
			case errors.Is(err, ErrKeyNotFound):
				missing++
			case err != nil:
				return err
			}
		}
		return nil
	})
	if err != nil || missing > 0 {
		t.Fatalf("%s: %d of %d keys are gone, %v", when, missing, patchKeys, err)
	}
}

// TestTableNotWritten: a compaction one of whose tables cannot be written, for
// want of file descriptors or of space, fails and changes nothing. Once it can,
// it is done.
func TestTableNotWritten(t *testing.T) {
	dir := t.TempDir()
	failed := 0
	for nth := range uint64(12) {
		fillPatched(t, dir)
		db := openPatched(t, dir)
		var last uint64
		for _, info := range db.Tables() {
			last = max(last, info.ID)
		}
		// Where the table would be, there is something else.
		obstacle := filepath.Join(dir, table.IDToFilename(last+1+nth))
		if err := os.WriteFile(obstacle, []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := db.Flatten(1); err != nil {
			failed++
		}
		checkPatched(t, db, fmt.Sprintf("table %d could not be written", nth))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openPatched(t, dir) // it removes the obstacle, which is none of its tables
		checkPatched(t, db, "opened again")
		if err := db.Flatten(1); err != nil {
			t.Fatal("the compaction that nothing hinders:", err)
		}
		checkPatched(t, db, "compacted")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 6 {
		t.Errorf("%d compactions reported that they failed", failed)
	}
}

// TestManifestNotWritten: a change that the manifest could not take did not
// happen, neither now nor at the next start, and the next change goes through.
func TestManifestNotWritten(t *testing.T) {
	for name, again := range map[string]bool{"the next start": false, "the next change": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fillPatched(t, dir)
			db := openPatched(t, dir)
			readable, err := os.Open(filepath.Join(dir, ManifestFilename))
			if err != nil {
				t.Fatal(err)
			}
			writable := db.manifest.fp
			db.manifest.fp = readable
			if err := db.Flatten(1); err == nil {
				t.Fatal("the compaction reported success")
			}
			checkPatched(t, db, "the manifest could not be written")
			if again {
				if err := db.Flatten(1); err != nil {
					t.Fatal("the compaction that nothing hinders:", err)
				}
				checkPatched(t, db, "compacted")
			}
			if err := errors.Join(db.Close(), writable.Close()); err != nil {
				t.Fatal(err)
			}
			db = openPatched(t, dir)
			checkPatched(t, db, "opened again")
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestManifestTorn: a change of which a part was written is none, and what
// follows it counts.
func TestManifestTorn(t *testing.T) {
	dir := t.TempDir()
	fillPatched(t, dir)
	db := openPatched(t, dir)
	sync := syncFunc
	syncFunc = func(f *os.File) error {
		syncFunc = sync
		return errors.New("not synced")
	}
	if err := db.Flatten(1); err == nil {
		t.Fatal("the compaction reported success")
	}
	checkPatched(t, db, "the manifest was not synced")
	if err := db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openPatched(t, dir)
	checkPatched(t, db, "opened again")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseWithoutRoom: Close ends, and says so, although the memtable cannot be
// written out. The next start has what was in it.
func TestCloseWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	db := openPatched(t, dir)
	batch := db.NewWriteBatch()
	for i := range patchKeys {
		if err := batch.Set(patchKey(i), []byte("a value")); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Flush(); err != nil {
		t.Fatal(err)
	}
	for id := range uint64(50) {
		if err := os.WriteFile(filepath.Join(dir, table.IDToFilename(id)), []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err == nil {
		t.Fatal("Close reported success")
	}
	db = openPatched(t, dir)
	checkPatched(t, db, "opened again")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// rotatePatched ends the memtable, as one that is full does.
func rotatePatched(t *testing.T, db *DB) {
	t.Helper()
	db.lock.Lock()
	defer db.lock.Unlock()
	next, err := db.newMemTable()
	if err != nil {
		t.Fatal(err)
	}
	db.flushChan <- db.mt
	db.imm = append(db.imm, db.mt)
	db.mt = next
}

func awaitPatched(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// flushed waits until all but the current memtable are in level 0.
func flushed(t *testing.T, db *DB) {
	t.Helper()
	awaitPatched(t, "memtables are written out", func() bool {
		db.lock.RLock()
		defer db.lock.RUnlock()
		return len(db.imm) == 0
	})
}

func setPatched(t *testing.T, db *DB, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := db.Update(func(txn *Txn) error { return txn.Set([]byte(key), []byte("v")) }); err != nil {
			t.Fatal(err)
		}
	}
}

func deletePatched(t *testing.T, db *DB, key string) {
	t.Helper()
	if err := db.Update(func(txn *Txn) error { return txn.Delete([]byte(key)) }); err != nil {
		t.Fatal(err)
	}
}

func hasPatched(t *testing.T, db *DB, key string) bool {
	t.Helper()
	err := db.View(func(txn *Txn) error {
		_, err := txn.Get([]byte(key))
		return err
	})
	if err != nil && !errors.Is(err, ErrKeyNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// stalled fills level 0 and all memtables behind it, and returns the keys.
func stalled(t *testing.T, db *DB) (keys []string) {
	t.Helper()
	stall := db.opt.NumLevelZeroTablesStall
	for i := range stall + 1 + db.opt.NumMemtables {
		keys = append(keys, fmt.Sprint("key ", i))
		setPatched(t, db, keys[i])
		rotatePatched(t, db)
		if i < stall {
			flushed(t, db)
		}
	}
	awaitPatched(t, "the flusher waits for level 0", func() bool { return waits("(*levelsController).addLevel0Table") })
	return keys
}

// waits tells whether a goroutine in that function waits for a condition.
func waits(function string) bool {
	stacks := make([]byte, 1<<20)
	for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(g, function) && strings.Contains(g, "[sync.Cond.Wait") {
			return true
		}
	}
	return false
}

func reopenPatched(t *testing.T, dir string, keys []string) {
	t.Helper()
	db := openPatched(t, dir)
	for _, key := range keys {
		if !hasPatched(t, db, key) {
			t.Error(key, "is gone")
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseStalled: Close ends while level 0 is full and compactions get nowhere.
func TestCloseStalled(t *testing.T) {
	dir := t.TempDir()
	db := openPatched(t, dir)
	keys := append(stalled(t, db), "the last")
	setPatched(t, db, "the last")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reopenPatched(t, dir, keys)
}

// TestGiveUp: a writer that waits for room fails when its owner gives up.
func TestGiveUp(t *testing.T) {
	dir := t.TempDir()
	db := openPatched(t, dir)
	keys := stalled(t, db)
	failed := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			err = db.Update(func(txn *Txn) error { return txn.Set(fmt.Appendf(nil, "more %d", i), make([]byte, 60<<10)) })
		}
		failed <- err
	}()
	awaitPatched(t, "the writer waits for room", func() bool { return waits("(*DB).ensureRoomForWrite") })
	db.GiveUp()
	if err := <-failed; !strings.Contains(err.Error(), errNoRoom.Error()) {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reopenPatched(t, dir, keys)
}

// TestNoDescriptor: without one for the next memtable a commit fails and changes
// nothing. Compactions and flushes fail as often as they are tried.
func TestNoDescriptor(t *testing.T) {
	dir := t.TempDir()
	fillPatched(t, dir)
	db := openPatched(t, dir)
	var all syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &all); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: all.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(3)
	defer limit(all.Cur)
	value := make([]byte, 60<<10)
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		err = db.Update(func(txn *Txn) error { return txn.Set(fmt.Appendf(nil, "more %d", i), value) })
	}
	if err == nil {
		t.Fatal("memtables are made without descriptors")
	}
	for range 100 {
		if err := db.Flatten(1); err == nil {
			t.Fatal("tables are made without descriptors")
		}
	}
	checkPatched(t, db, "without descriptors")
	limit(all.Cur)
	setPatched(t, db, "after")
	if err := db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	checkPatched(t, db, "with descriptors again")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLevel0IntoItself: tables of level 0 that are merged with each other keep
// their deletions, of which the values may be in another table of level 0.
func TestLevel0IntoItself(t *testing.T) {
	dir := t.TempDir()
	db := openPatched(t, dir)
	setPatched(t, db, "key")
	rotatePatched(t, db)
	flushed(t, db)
	// A compaction that is slow has this one.
	slow := compactDef{compactorId: 1, thisLevel: db.lc.levels[0], t: db.lc.levelTargets()}
	slow.nextLevel = db.lc.levels[slow.t.baseLevel]
	slow.p = compactionPriority{level: 0, score: 1, adjusted: 100, t: slow.t}
	if !db.lc.fillTablesL0(&slow) {
		t.Fatal("no table for the slow compaction")
	}
	deletePatched(t, db, "key")
	for range 4 {
		setPatched(t, db, "a", "z")
		rotatePatched(t, db)
	}
	flushed(t, db)
	for _, table := range db.lc.levels[0].tables {
		table.CreatedAt = time.Now().Add(-time.Hour)
	}
	if err := db.lc.doCompact(0, compactionPriority{level: 0, score: 4, adjusted: 4, t: slow.t}); err != nil {
		t.Fatal(err)
	}
	if err := db.lc.runCompactDef(1, 0, slow); err != nil {
		t.Fatal(err)
	}
	db.lc.cstatus.delete(slow)
	if hasPatched(t, db, "key") {
		t.Error("the deleted key is back")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLogsGoInOrder: a reader does not keep the log of a memtable that is in
// level 0. If it did, a younger one, with the deletion of what is in an older
// one, could go first.
func TestLogsGoInOrder(t *testing.T) {
	dir := t.TempDir()
	db := openPatched(t, dir)
	setPatched(t, db, "key")
	db.manifest.appendLock.Lock() // holds up the flusher until the reader is there
	rotatePatched(t, db)
	deletePatched(t, db, "key")
	txn := db.NewTransaction(false)
	it := txn.NewIterator(IteratorOptions{})
	db.manifest.appendLock.Unlock()
	rotatePatched(t, db)
	flushed(t, db)
	if logs, err := filepath.Glob(filepath.Join(dir, "*"+memFileExt)); err != nil || len(logs) != 1 {
		t.Errorf("beside the current memtable's log there are others: %v, %v", logs, err)
	}
	it.Close()
	txn.Discard()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedBlock: no compaction takes what cannot be read for the end of its
// table, and no lookup for a key that is not there.
func TestDamagedBlock(t *testing.T) {
	for name, damage := range map[string]struct{ at, n int64 }{"a byte": {500, 1}, "blocks": {20 << 10, 20 << 10}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fillPatched(t, dir)
			names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			f, err := os.OpenFile(names[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			bytes := make([]byte, damage.n)
			if _, err = f.ReadAt(bytes, damage.at); err == nil {
				for i := range bytes {
					bytes[i] ^= 0xff
				}
				_, err = f.WriteAt(bytes, damage.at)
			}
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			db := openPatched(t, dir)
			if err := db.VerifyTables(0); err == nil {
				t.Error("the table is said to be good")
			}
			if err := db.Flatten(1); err == nil {
				t.Error("a damaged table was compacted")
			}
			failed := 0
			_ = db.View(func(txn *Txn) error {
				for i := range patchKeys {
					switch _, err := txn.Get(patchKey(i)); {
					case errors.Is(err, ErrKeyNotFound):
						t.Errorf("%s is said not to be there", patchKey(i))
					case err != nil:
						failed++
					}
				}
				return nil
			})
			if failed == 0 && damage.n > 1 {
				t.Error("no lookup failed")
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
