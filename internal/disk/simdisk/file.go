package simdisk

import (
	"io"
	"maps"
	"slices"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// inode is a file's contents: as they are seen and as they are on disk.
type inode struct {
	seen, durable []byte
	// dirty are the sectors, by number, that the next sync writes. The size goes
	// with it.
	dirty map[int]struct{}
	// lost are sectors that a failed sync has forgotten. No sync writes them: a
	// crash may find them or not.
	lost map[int]struct{}
}

func newInode() *inode {
	return &inode{dirty: make(map[int]struct{}), lost: make(map[int]struct{})}
}

func (n *inode) clone() *inode {
	return &inode{
		seen: slices.Clone(n.seen), durable: slices.Clone(n.durable),
		dirty: maps.Clone(n.dirty), lost: maps.Clone(n.lost),
	}
}

// crash is the file as a crash leaves it. ask decides over each change.
func (n *inode) crash(ask func() bool) *inode {
	out := slices.Clone(n.durable)
	if len(n.seen) != len(n.durable) && ask() {
		out = resize(out, len(n.seen))
	}
	unsure := maps.Clone(n.dirty)
	maps.Copy(unsure, n.lost)
	for _, s := range slices.Sorted(maps.Keys(unsure)) {
		if ask() {
			copySector(out, n.seen, s)
		}
	}
	after := newInode()
	after.seen, after.durable = out, slices.Clone(out)
	return after
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// copySector copies what both have of sector s.
func copySector(dst, src []byte, s int) {
	at := s * SectorSize
	if at >= len(dst) || at >= len(src) {
		return
	}
	copy(dst[at:min(at+SectorSize, len(dst))], src[at:])
}

func (n *inode) write(p []byte, off int) {
	if end := off + len(p); end > len(n.seen) {
		n.seen = resize(n.seen, end)
	}
	copy(n.seen[off:], p)
	for s := off / SectorSize; s*SectorSize < off+len(p); s++ {
		n.dirty[s] = struct{}{}
		delete(n.lost, s)
	}
}

func (n *inode) sync() {
	n.durable = resize(n.durable, len(n.seen))
	for s := range n.dirty {
		copySector(n.durable, n.seen, s)
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
	if off >= int64(len(f.ino.seen)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.seen[off:])
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
	old := len(f.ino.seen)
	f.ino.seen = resize(f.ino.seen, int(size))
	// What lies between the two sizes is zero from now on.
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
	return int64(len(f.ino.seen)), nil
}

// Close never fails: it syncs nothing.
func (f *file) Close() error { return nil }

// Damage changes bytes of a file as rot does: seen and durable.
func (d *Disk) Damage(name string, fn func(contents []byte) []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.find("damage", name)
	if err != nil {
		return err
	}
	ino := dir.seen[base]
	if ino == nil {
		return io.ErrUnexpectedEOF
	}
	ino.seen = fn(slices.Clone(ino.seen))
	ino.durable = slices.Clone(ino.seen)
	return nil
}

// Interface guards
var _ disk.File = (*file)(nil)
