package simdisk

import (
	"io"
	"maps"
	"slices"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// inode holds the contents of a file: the current ones and those on disk.
type inode struct {
	current, durable []byte
	// dirty are the numbers of the sectors that the next sync writes, along with
	// the size.
	dirty map[int]struct{}
	// lost are sectors that a failed sync has dropped. No sync writes them; a
	// crash may keep them or not.
	lost map[int]struct{}
}

func newInode() *inode {
	return &inode{dirty: make(map[int]struct{}), lost: make(map[int]struct{})}
}

func (n *inode) clone() *inode {
	return &inode{
		current: slices.Clone(n.current), durable: slices.Clone(n.durable),
		dirty: maps.Clone(n.dirty), lost: maps.Clone(n.lost),
	}
}

// crash returns the file after a crash. ask decides about each change.
func (n *inode) crash(ask func() bool) *inode {
	out := slices.Clone(n.durable)
	if len(n.current) != len(n.durable) && ask() {
		out = resize(out, len(n.current))
	}
	unsure := maps.Clone(n.dirty)
	maps.Copy(unsure, n.lost)
	for _, s := range slices.Sorted(maps.Keys(unsure)) {
		if ask() {
			copySector(out, n.current, s)
		}
	}
	after := newInode()
	after.current, after.durable = out, slices.Clone(out)
	return after
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// copySector copies the part of sector s that both have.
func copySector(dst, src []byte, s int) {
	at := s * SectorSize
	if at >= len(dst) || at >= len(src) {
		return
	}
	copy(dst[at:min(at+SectorSize, len(dst))], src[at:])
}

func (n *inode) write(p []byte, off int) {
	if end := off + len(p); end > len(n.current) {
		n.current = resize(n.current, end)
	}
	copy(n.current[off:], p)
	for s := off / SectorSize; s*SectorSize < off+len(p); s++ {
		n.dirty[s] = struct{}{}
		delete(n.lost, s)
	}
}

func (n *inode) sync() {
	n.durable = resize(n.durable, len(n.current))
	for s := range n.dirty {
		copySector(n.durable, n.current, s)
	}
	clear(n.dirty)
}

// file is an open file.
type file struct {
	disk *Disk
	ino  *inode
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	err := f.disk.enter()
	defer f.disk.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.current)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.current[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.disk.enter()
	defer f.disk.leave("write")
	n := len(p)
	if err != nil {
		n /= 2
	}
	f.ino.write(p[:n], int(off))
	return n, err
}

func (f *file) Sync() error {
	err := f.disk.enter()
	defer f.disk.leave("sync")
	if err != nil {
		maps.Copy(f.ino.lost, f.ino.dirty)
		clear(f.ino.dirty)
		return err
	}
	f.ino.sync()
	return nil
}

func (f *file) Truncate(size int64) error {
	err := f.disk.enter()
	defer f.disk.leave("truncate")
	if err != nil {
		return err
	}
	old := len(f.ino.current)
	f.ino.current = resize(f.ino.current, int(size))
	// The bytes between the two sizes become zero.
	for s := min(old, int(size)) / SectorSize; s*SectorSize < max(old, int(size)); s++ {
		f.ino.dirty[s] = struct{}{}
	}
	return nil
}

func (f *file) Size() (int64, error) {
	err := f.disk.enter()
	defer f.disk.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return int64(len(f.ino.current)), nil
}

// Close never fails and syncs nothing.
func (f *file) Close() error { return nil }

// Damage changes the current and the durable bytes of a file.
func (d *Disk) Damage(name string, fn func(contents []byte) []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.find("damage", name)
	if err != nil {
		return err
	}
	ino := dir.current[base]
	if ino == nil {
		return io.ErrUnexpectedEOF
	}
	ino.current = fn(slices.Clone(ino.current))
	ino.durable = slices.Clone(ino.current)
	return nil
}

// Interface guards
var _ disk.File = (*file)(nil)
