package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/osa-edge/osa-gateway/internal/failpoint"
)

// wal syncs what was committed. Badger offers two ways of its own, and both sync
// twice a commit, the memtable's file and the value log, which we never write:
// SyncWrites, and DB.Sync, which besides syncs only the current memtable and so
// loses a commit whose memtable was rotated by another writer before the call.
//
// This one keeps the current memtable's file open and syncs it, once a commit.
// Memtables are files named by an ascending number, made when the one before is
// full: after every commit, with Store.write held, committed looks whether there
// is a new one, and syncs the old one first, for good. So nothing is ever synced
// before what was committed ahead of it.
//
// Where a descriptor does not sync what a mapping wrote (ownSync), commits call
// DB.Sync with Store.write held, which nobody can rotate under.
type wal struct {
	dir string

	mu  sync.RWMutex // guards file against being closed during a sync
	fid int
	fd  *os.File

	syncing sync.Mutex // one sync at a time: of two, the error goes to one
	failed  error      // the first sync that failed: the next one would report success
}

// syncFile syncs w.fd. Linux tells of a page that could not be written once, and
// calls it clean from then on.
func (w *wal) syncFile() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	if w.failed == nil {
		w.failed = syncData(w.fd)
	}
	return w.failed
}

const walExt = ".mem"

func openWAL(dir string) (*wal, error) {
	w := &wal{dir: dir}
	if !ownSync {
		return w, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), walExt); ok {
			if fid, err := strconv.Atoi(name); err == nil && fid > w.fid {
				w.fid = fid
			}
		}
	}
	if w.fid == 0 {
		return nil, fmt.Errorf("%s holds no write-ahead log", dir)
	}
	return w, w.open()
}

// syncLeftovers makes durable what a killed process had written and not synced:
// it will be read as if it had been acknowledged.
func syncLeftovers(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"+walExt))
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *wal) path(fid int) string {
	return filepath.Join(w.dir, fmt.Sprintf("%05d%s", fid, walExt))
}

// open opens the file numbered w.fid.
func (w *wal) open() error {
	fd, err := os.OpenFile(w.path(w.fid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	// The file is mapped and sparse: a page that cannot be had kills the
	// process. Take them all now; a failure is the space guard's business.
	_ = allocate(fd, memTableSize+maxTxn)
	w.fd = fd
	return syncDir(w.dir) // Badger does not, and the file is worth nothing without its name
}

// committed is called after every commit with Store.write held.
func (w *wal) committed() error {
	if !ownSync {
		return nil
	}
	for {
		if _, err := os.Lstat(w.path(w.fid + 1)); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err // not known: what was committed may be in a file that is not synced
		}
		if err := w.rotate(); err != nil {
			return fmt.Errorf("syncing a full write-ahead log: %w", err)
		}
	}
}

func (w *wal) rotate() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	failpoint.Hit("wal.rotate")
	if err := w.syncFile(); err != nil {
		return err
	}
	if err := w.fd.Close(); err != nil {
		return err
	}
	w.fid++
	failpoint.Hit("wal.rotated")
	return w.open()
}

// sync makes everything durable that was committed before the call.
func (w *wal) sync() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.syncFile()
}

func (w *wal) close() error {
	if w.fd == nil {
		return nil
	}
	return w.fd.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
