package segment

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
)

// countedFS counts the files that are open.
type countedFS struct {
	disk.FS
	open atomic.Int64
	most atomic.Int64 // that were open at the same time
}

type countedFile struct {
	disk.File
	of *countedFS
}

func (c *countedFS) counted(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	n := c.open.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
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

// However many read at once, no more files are open than may be, and everybody
// reads what stands in their file.
func TestPoolIsBounded(t *testing.T) {
	for _, names := range []int{2, 12} {
		t.Run(fmt.Sprintf("%d files", names), func(t *testing.T) { readBounded(t, names) })
	}
}

func readBounded(t *testing.T, names int) {
	const most, readers = 3, 32
	fs := &countedFS{FS: simdisk.New()}
	if err := fs.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	for i := range names {
		f, err := fs.FS.Create(fmt.Sprintf("/d/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{byte(i)}, 0); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	p := newFilePool(fs, most)
	var done sync.WaitGroup
	for r := range readers {
		done.Go(func() {
			for i := range 300 {
				n := (i*7 + r) % names
				f := file{p, fmt.Sprintf("/d/%d", n)}
				b := make([]byte, 1)
				if _, err := f.ReadAt(b, 0); (err != nil && err != io.EOF) || b[0] != byte(n) { //nolint:errorlint // a sentinel
					t.Errorf("%s: %d, %v", f.name, b[0], err)
				}
				if i%5 == 0 {
					p.forget(f.name)
				}
			}
		})
	}
	done.Wait()
	if n := fs.most.Load(); n > most {
		t.Errorf("%d files were open at the same time, of %d", n, most)
	}
	if _, err := (file{p, "/d/nowhere"}).ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a file that is not there was read")
	}
	p.close()
	if n := fs.open.Load(); n != 0 || p.open != 0 {
		t.Errorf("%d files are open behind the end, %d counted", n, p.open)
	}
}
