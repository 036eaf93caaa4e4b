package segment

import (
	"sync/atomic"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
)

// countedFS counts the files that are open.
type countedFS struct {
	disk.FS
	open atomic.Int64
}

type countedFile struct {
	disk.File
	of *countedFS
}

func (c *countedFS) counted(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &countedFile{f, c}, nil
}

func (c *countedFS) Open(name string) (disk.File, error)   { return c.counted(c.FS.Open(name)) }
func (c *countedFS) Create(name string) (disk.File, error) { return c.counted(c.FS.Create(name)) }

func (f *countedFile) Close() error {
	f.of.open.Add(-1)
	return f.File.Close()
}

// A log of any number of segments holds few files open, and none once it is
// closed and the last view has been read.
func TestOpenFiles(t *testing.T) {
	fs := &countedFS{FS: simdisk.New()}
	opt := small
	opt.SegmentEvents = 2
	l, err := Open(fs, "/log", opt)
	if err != nil {
		t.Fatal(err)
	}
	const events = 4 * maxFiles
	for l.Last() < events {
		if err := l.Append(batch(l.Next(), 2, 10)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(v *View) {
		t.Helper()
		for seq := uint64(1); seq <= events; seq++ {
			if _, err := v.Get(seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := l.View()
	read(v)
	if n := fs.open.Load(); n > maxFiles+4 {
		t.Fatalf("%d files are open", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	read(v)
	v.Close()
	if n := fs.open.Load(); n != 0 {
		t.Fatalf("%d files are open behind the end", n)
	}
}
