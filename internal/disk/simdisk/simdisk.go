// Package simdisk is a file system in memory that behaves as badly as package
// disk permits. It tracks what was synced, simulates crashes that lose any part
// of the rest, and makes calls fail.
package simdisk

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// SectorSize is the size in bytes of what is written completely or not at all.
const SectorSize = 512

// ErrFault is the error that tests inject.
var ErrFault = errors.New("simulated fault")

// Disk is a simulated disk. New creates one.
type Disk struct {
	mu   sync.Mutex
	dirs map[string]*directory
	// calls counts calls of every kind, from 1.
	calls  int
	failAt int
	fail   error
	// changed is called after each call that changes the disk.
	changed func(call string)
}

// directory holds the current names, the names on disk, and the changes between
// them in order.
type directory struct {
	current, durable map[string]*inode
	pending          []change
}

// change is a change of names: link is set to to, and unlink is removed.
type change struct {
	link, unlink string
	to           *inode
}

func (c change) apply(names map[string]*inode) {
	if c.unlink != "" {
		delete(names, c.unlink)
	}
	if c.link != "" {
		names[c.link] = c.to
	}
}

// New returns an empty disk.
func New() *Disk {
	return &Disk{dirs: make(map[string]*directory)}
}

// OnChange calls fn after each call that has or may have changed the disk, with
// the name of the call. fn may call Crash, Pending and Calls.
func (d *Disk) OnChange(fn func(call string)) { d.changed = fn }

// Calls returns the number of calls so far.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// FailAt makes the n-th call from now fail once with err. A write that fails
// has written the first half of its data. A sync that fails has synced nothing
// and never will: the data stays visible and later syncs succeed, as on Linux.
func (d *Disk) FailAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failAt, d.fail = d.calls+n, err
}

// enter locks the disk, counts a call, and returns the error if it has to fail.
func (d *Disk) enter() error {
	d.mu.Lock()
	d.calls++
	if d.calls == d.failAt {
		return d.fail
	}
	return nil
}

// leave unlocks the disk after a call that changed it.
func (d *Disk) leave(call string) {
	fn := d.changed
	d.mu.Unlock()
	if fn != nil {
		fn(call)
	}
}

// Pending returns how many changes a crash may keep or lose: sectors, sizes and
// names.
func (d *Disk) Pending() int {
	n := 0
	d.Crash(func(int) bool { n++; return false })
	return n
}

// Crash returns the disk after a crash: what was synced, and those pending
// changes for which keep returns true. keep is called once per change with a
// number from 0, in an order that depends on the disk alone. The disk itself
// does not change.
func (d *Disk) Crash(keep func(i int) bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := 0
	ask := func() bool {
		next++
		return keep(next - 1)
	}
	after := New()
	copies := make(map[*inode]*inode)
	for _, path := range slices.Sorted(maps.Keys(d.dirs)) {
		dir := d.dirs[path]
		names := maps.Clone(dir.durable)
		for _, c := range dir.pending {
			if ask() {
				c.apply(names)
			}
		}
		kept := &directory{current: make(map[string]*inode), durable: make(map[string]*inode)}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			ino := names[name]
			if copies[ino] == nil {
				copies[ino] = ino.crash(ask)
			}
			kept.current[name], kept.durable[name] = copies[ino], copies[ino]
		}
		after.dirs[path] = kept
	}
	return after
}

// Clone returns the disk as a new process finds it without a crash of the
// machine: with all pending changes.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	copies := make(map[*inode]*inode)
	clone := func(names map[string]*inode) map[string]*inode {
		out := make(map[string]*inode, len(names))
		for name, ino := range names {
			if copies[ino] == nil {
				copies[ino] = ino.clone()
			}
			out[name] = copies[ino]
		}
		return out
	}
	for path, dir := range d.dirs {
		kept := &directory{current: clone(dir.current), durable: clone(dir.durable)}
		for _, ch := range dir.pending {
			if ch.to != nil && copies[ch.to] == nil {
				copies[ch.to] = ch.to.clone()
			}
			ch.to = copies[ch.to]
			kept.pending = append(kept.pending, ch)
		}
		c.dirs[path] = kept
	}
	return c
}

func (d *Disk) find(op, name string) (*directory, string, error) {
	dir := d.dirs[filepath.Dir(filepath.Clean(name))]
	if dir == nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return dir, filepath.Base(name), nil
}

func (dir *directory) change(c change) {
	c.apply(dir.current)
	dir.pending = append(dir.pending, c)
}

// Create implements disk.FS.
func (d *Disk) Create(name string) (disk.File, error) {
	if err := d.enter(); err != nil {
		d.leave("create")
		return nil, err
	}
	defer d.leave("create")
	dir, base, err := d.find("create", name)
	if err != nil {
		return nil, err
	}
	if dir.current[base] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	ino := newInode()
	dir.change(change{link: base, to: ino})
	return &file{disk: d, ino: ino}, nil
}

// Open implements disk.FS.
func (d *Disk) Open(name string) (disk.File, error) {
	err := d.enter()
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	dir, base, err := d.find("open", name)
	if err != nil {
		return nil, err
	}
	ino := dir.current[base]
	if ino == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{disk: d, ino: ino}, nil
}

// Rename implements disk.FS within one directory.
func (d *Disk) Rename(oldname, newname string) error {
	if err := d.enter(); err != nil {
		d.leave("rename")
		return err
	}
	defer d.leave("rename")
	dir, from, err := d.find("rename", oldname)
	if err != nil {
		return err
	}
	other, to, err := d.find("rename", newname)
	if err != nil {
		return err
	}
	ino := dir.current[from]
	if ino == nil || other != dir {
		return &fs.PathError{Op: "rename", Path: oldname, Err: fs.ErrNotExist}
	}
	dir.change(change{link: to, to: ino, unlink: from})
	return nil
}

// Remove implements disk.FS.
func (d *Disk) Remove(name string) error {
	if err := d.enter(); err != nil {
		d.leave("remove")
		return err
	}
	defer d.leave("remove")
	dir, base, err := d.find("remove", name)
	if err != nil {
		return err
	}
	if dir.current[base] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	dir.change(change{unlink: base})
	return nil
}

// ReadDir implements disk.FS.
func (d *Disk) ReadDir(name string) ([]disk.Entry, error) {
	err := d.enter()
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	dir := d.dirs[filepath.Clean(name)]
	if dir == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var entries []disk.Entry
	for _, base := range slices.Sorted(maps.Keys(dir.current)) {
		entries = append(entries, disk.Entry{Name: base, Size: int64(len(dir.current[base].current))})
	}
	return entries, nil
}

// MkdirAll implements disk.FS. Directories are durable at once.
func (d *Disk) MkdirAll(name string) error {
	if err := d.enter(); err != nil {
		d.leave("mkdir")
		return err
	}
	defer d.leave("mkdir")
	for p := filepath.Clean(name); ; p = filepath.Dir(p) {
		if d.dirs[p] == nil {
			d.dirs[p] = &directory{current: make(map[string]*inode), durable: make(map[string]*inode)}
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// SyncDir implements disk.FS. If it fails, the names stay pending: a journal
// keeps them for the next sync.
func (d *Disk) SyncDir(name string) error {
	if err := d.enter(); err != nil {
		d.leave("syncdir")
		return err
	}
	defer d.leave("syncdir")
	dir := d.dirs[filepath.Clean(name)]
	if dir == nil {
		return &fs.PathError{Op: "sync", Path: name, Err: fs.ErrNotExist}
	}
	for _, c := range dir.pending {
		c.apply(dir.durable)
	}
	dir.pending = nil
	return nil
}

// Interface guards
var _ disk.FS = (*Disk)(nil)
