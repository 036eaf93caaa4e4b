package badger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

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

// TestCloseWithoutRoom: Close ends although the memtable cannot be written out,
// and the next start has what was in it.
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
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openPatched(t, dir)
	checkPatched(t, db, "opened again")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
