// Package filewatch reports when the contents of files change. It polls: that
// works on every file system, with files that are replaced by a rename, and
// with the symbolic links that Kubernetes swaps.
package filewatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"time"
)

const (
	// Interval is the polling interval.
	Interval = time.Second
	// settleTime is how long a file must stay unchanged before a change is
	// reported, so that a file is not read while it is being written.
	settleTime = 50 * time.Millisecond
	// maxSettleChecks limits how often one poll waits for that.
	maxSettleChecks = 10
	// timeResolution is the coarsest resolution of modification times of any
	// common file system.
	timeResolution = 2 * time.Second
	// fullReadEvery is how many polls rely on size, times and inode before the
	// content is read again.
	fullReadEvery = 60
)

// MaxSize is the maximum size of a file in bytes.
const MaxSize = 4 << 20

var errIrregular = errors.New("not a regular file")

// Files is a set of files that are polled together.
type Files struct{ files []file }

// file is the state of a file at the last poll.
type file struct {
	path   string
	info   os.FileInfo // nil after an error.
	err    string      // Empty if the file could be read.
	sum    [sha256.Size]byte
	read   time.Time // when it was read
	checks int       // Polls since then.
}

// Snapshot records the current state of the files. A caller that reads them
// afterwards misses no change.
func Snapshot(paths ...string) *Files {
	f := new(Files)
	for _, path := range paths {
		f.files = append(f.files, read(path))
	}
	return f
}

// Watch calls changed when contents have changed. A file that becomes
// unreadable counts as changed. Watch returns when ctx is done; changed is not
// called after that.
func (f *Files) Watch(ctx context.Context, changed func()) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if f.changed(ctx) && ctx.Err() == nil {
			changed()
		}
	}
}

// changed reports whether there are new contents that are no longer being
// written.
func (f *Files) changed(ctx context.Context) bool {
	now := next(f.files)
	if slices.EqualFunc(f.files, now, same) {
		f.files = now
		return false
	}
	for range maxSettleChecks {
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
			return false
		}
		again := next(now)
		if slices.EqualFunc(now, again, same) {
			f.files = again
			return true
		}
		now = again
	}
	return false // The next poll reports it.
}

func same(a, b file) bool { return a.err == b.err && a.sum == b.sum }

func next(files []file) []file {
	out := make([]file, len(files))
	for i, old := range files {
		if old.unchanged() {
			old.checks++
			out[i] = old
		} else {
			out[i] = read(old.path)
		}
	}
	return out
}

// unchanged reports whether size, times and inode are those of the file that
// was read. It avoids reading the content.
func (f *file) unchanged() bool {
	if f.info == nil || f.checks >= fullReadEvery || f.read.Sub(f.info.ModTime()) < timeResolution {
		return false
	}
	info, err := os.Stat(f.path)
	return err == nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() &&
		info.ModTime().Equal(f.info.ModTime()) && info.Mode() == f.info.Mode()
}

func read(path string) file {
	f := file{path: path, read: time.Now()}
	info, sum, err := sumOf(path)
	if err != nil {
		f.err = err.Error()
		return f
	}
	f.info, f.sum = info, sum
	return f
}

func sumOf(path string) (info os.FileInfo, sum [sha256.Size]byte, err error) {
	// Opening a pipe or a device could block forever.
	if info, err = os.Stat(path); err != nil {
		return nil, sum, err
	}
	if !info.Mode().IsRegular() {
		return nil, sum, errIrregular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, sum, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, sum, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, MaxSize+1)); err != nil {
		return nil, sum, err
	}
	h.Sum(sum[:0])
	return info, sum, nil
}
