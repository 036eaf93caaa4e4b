package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
)

// file is an open bbolt file. Panics of bbolt are returned as errors.
type file struct {
	path string
	db   *bbolt.DB
	fd   *os.File // bbolt's own descriptor.

	failed atomic.Pointer[error] // Why nothing more is written.
	// bbolt has panicked while it held its locks. Another call would block
	// forever.
	deadlocked atomic.Bool
}

const (
	// mapSize is address space and not memory. When a file outgrows it, bbolt
	// maps the file again and waits for all readers.
	mapSize = 1 << 30
	// allocSize is how much a file grows at once.
	allocSize = 1 << 20
)

// openFile opens or creates a file. entry is called with every entry before
// that.
func openFile(path string, opt Options, prepare func(*bbolt.Tx) error, entry func(bucket, key, value []byte) error) (*file, error) {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && opt.Existing:
		err = damaged("the file is missing")
	case errors.Is(err, fs.ErrNotExist):
		err = create(path, opt, prepare)
	case err == nil:
		err = checkLocked(path, opt, entry)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f, err := openDB(path, opt, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if opt.noSync {
		return f, nil
	}
	if err := f.syncMeta(); err != nil {
		err = openError(err)
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.close())
	}
	return f, nil
}

// syncMeta writes the meta pages again. A sync that failed earlier may have
// left one only in the page cache, and later syncs would not report that. The
// pages that it refers to were synced before.
func (f *file) syncMeta() error {
	b := make([]byte, 2*pageSize)
	if _, err := f.fd.ReadAt(b, 0); err != nil {
		return err
	}
	if _, err := f.fd.WriteAt(b, 0); err != nil {
		return err
	}
	return f.fd.Sync()
}

// checkLocked checks a file while no process writes to it.
func checkLocked(path string, opt Options, entry func(bucket, key, value []byte) error) error {
	lock, err := openDB(path, opt, true) // This reads only the meta pages.
	if err != nil {
		return err
	}
	err = nil
	if info, serr := lock.fd.Stat(); opt.checkBytes == 0 || serr != nil || info.Size() <= opt.checkBytes {
		err = checkFile(lock.fd, entry)
	}
	return errors.Join(err, lock.close())
}

// create writes the new file under another name and renames it, so that it is
// complete or absent.
func create(path string, opt Options, prepare func(*bbolt.Tx) error) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := openDB(next, opt, false)
	if err != nil {
		return err
	}
	if err := errors.Join(f.update(prepare), f.close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil || opt.noSync {
		return err
	}
	return disk.OS.SyncDir(filepath.Dir(path))
}

func openDB(path string, opt Options, readOnly bool) (f *file, err error) {
	f = &file{path: path}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(panicError(p), f.fd.Close())
		}
	}()
	options := &bbolt.Options{
		Timeout: opt.LockTimeout, ReadOnly: readOnly, PageSize: pageSize, FreelistType: bbolt.FreelistMapType,
		// The file grows by writes, and their sync includes the new size.
		NoGrowSync: true, NoStatistics: true, MaxSize: opt.maxSize, NoSync: opt.noSync,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			fd, err := os.OpenFile(name, flag, mode)
			f.fd = fd
			return fd, err
		},
	}
	if !readOnly && runtime.GOOS != "windows" && strconv.IntSize == 64 {
		options.InitialMmapSize = mapSize
	}
	f.db, err = bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, openError(err)
	}
	f.db.AllocSize = allocSize
	return f, nil
}

func openError(err error) error {
	for _, e := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
		}
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return storage.ErrLocked
	case strings.Contains(err.Error(), "file size too small"):
		return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	case isNoSpace(err):
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return err
}

func panicError(p any) error {
	if err, ok := p.(error); ok {
		return damaged("bbolt: %w", err)
	}
	return damaged("bbolt: %v", p)
}

// view runs fn in a read transaction. fn must copy what it keeps.
func (f *file) view(fn func(*bbolt.Tx) error) (err error) {
	if f.deadlocked.Load() {
		return damaged("%s cannot be read any more", f.path)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	begun := false
	defer func() {
		if p := recover(); p != nil {
			if !begun {
				f.deadlocked.Store(true)
			}
			err = panicError(p)
		}
	}()
	tx, err := f.db.Begin(false)
	begun = true
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.path, err)
	}
	defer func() { _ = tx.Rollback() }() // Rollback fails only for write transactions.
	return fn(tx)
}

// update runs fn in a write transaction and commits it. The changes are synced
// when it returns nil. After ErrNoSpace or an error of fn nothing was written.
// After any other error the outcome is unknown and nothing more is written.
func (f *file) update(fn func(*bbolt.Tx) error) (err error) {
	if cause := f.failed.Load(); cause != nil {
		return fmt.Errorf("%w: %s failed before: %w", storage.ErrClosed, f.path, *cause)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var tx *bbolt.Tx
	defer func() {
		if p := recover(); p != nil {
			if tx == nil || !rolledBack(tx) {
				f.deadlocked.Store(true)
			}
			err = f.fail(panicError(p))
		}
	}()
	tx, err = f.db.Begin(true)
	if err != nil {
		return f.fail(err)
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	err = tx.Commit()
	switch {
	case err == nil:
		return nil
	case isNoSpace(err):
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return f.fail(err)
}

func (f *file) fail(cause error) error {
	cause = fmt.Errorf("writing %s: %w", f.path, cause)
	f.failed.CompareAndSwap(nil, &cause)
	return fmt.Errorf("%w: %w", storage.ErrClosed, cause)
}

func rolledBack(tx *bbolt.Tx) (ok bool) {
	defer func() { ok = recover() == nil && ok }()
	_ = tx.Rollback()
	return true
}

// isNoSpace reports whether a write failed because the disk is full. bbolt has
// changed nothing then. For a sync it is false, because a failed sync may have
// lost written data.
func isNoSpace(err error) bool {
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return true
	}
	var path *fs.PathError
	if !errors.As(err, &path) {
		return false
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

func (f *file) close() error {
	if f.deadlocked.Load() {
		return f.fd.Close() // This releases the lock. The mapping stays.
	}
	return f.db.Close()
}
