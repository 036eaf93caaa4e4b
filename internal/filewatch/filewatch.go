// Package filewatch tells when files have other contents than before. It looks at
// them instead of listening: that works on every file system, with files that are
// renamed over one another, and with the symbolic links that Kubernetes swaps.
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
	// Interval is how often files are looked at.
	Interval = time.Second
	// settleTime is for how long a file has to stay as it is before it is reported: one
	// that is being written is not to be read half.
	settleTime = 50 * time.Millisecond
	// maxSettleChecks bounds how often one look waits for that.
	maxSettleChecks = 10
	// timeResolution is how far apart two changes have to be to differ in their times, on
	// any file system that is in use.
	timeResolution = 2 * time.Second
	// fullReadEvery is how many looks believe a file's size, times and inode before its
	// content is read again.
	fullReadEvery = 60
)

// MaxSize is how much of a file is looked at, in bytes.
const MaxSize = 4 << 20

var errIrregular = errors.New("not a regular file")

// Files are files that are looked at together.
type Files struct{ files []file }

// file is how a file was when it was looked at last.
type file struct {
	path   string
	info   os.FileInfo // nil after an error
	err    string      // "" if it could be read
	sum    [sha256.Size]byte
	read   time.Time // when it was read
	checks int       // since then
}

// Snapshot remembers how the files are now. Who reads them does so after it: then no
// change is missed.
func Snapshot(paths ...string) *Files {
	f := new(Files)
	for _, path := range paths {
		f.files = append(f.files, read(path))
	}
	return f
}

// Watch calls changed after contents have changed, and then not again until they
// change once more. That a file cannot be read is a change too. It returns when
// ctx is done; changed is not called after that.
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

// changed reports whether there are new contents that do not change any more.
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
	return false // the next look sees to it
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

// unchanged reports whether the file is, by all that stat tells, the one that was
// read. It spares reading the content.
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
	// Opening something else could wait for ever.
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
