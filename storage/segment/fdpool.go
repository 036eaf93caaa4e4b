package segment

import (
	"container/list"
	"sync"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// maxFiles is the default number of files that are open at the same time.
const maxFiles = 96

// filePool opens files for reading and closes the least recently used ones. The
// log can so keep a thousand segments without a thousand file descriptors. If
// all open files are in use, a caller waits until a read ends.
type filePool struct {
	fs  disk.FS
	max int

	mu    sync.Mutex
	freed sync.Cond // Signalled when a file becomes idle or is closed.
	open  int       // Files that are open or being opened.
	files map[string]*pooledFile
	idle  list.List // Of *pooledFile, most recently used first.
}

// pooledFile is an open file of the pool.
type pooledFile struct {
	name string
	disk.File
	users   int
	dropped bool // The last user closes it.
	at      *list.Element
}

func newFilePool(fs disk.FS, most int) *filePool {
	p := &filePool{fs: fs, max: most, files: make(map[string]*pooledFile)}
	p.freed.L = &p.mu
	return p
}

// acquire returns the open file. The caller calls release, and must not wait
// for another file before that.
func (p *filePool) acquire(name string) (*pooledFile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if f := p.files[name]; f != nil {
			p.addUser(f)
			return f, nil
		}
		if p.open < p.max {
			break
		}
		if back := p.idle.Back(); back != nil {
			old := p.idle.Remove(back).(*pooledFile)
			delete(p.files, old.name)
			p.closeFile(old)
			continue
		}
		p.freed.Wait()
	}
	p.open++
	p.mu.Unlock()
	opened, err := p.fs.Open(name)
	p.mu.Lock()
	if err != nil {
		p.open--
		p.freed.Signal()
		return nil, err
	}
	if f := p.files[name]; f != nil { // Another caller has opened it.
		p.addUser(f) // Before the lock is released, or the file could be closed.
		p.closeFile(&pooledFile{File: opened})
		return f, nil
	}
	f := &pooledFile{name: name, File: opened}
	p.files[name] = f
	p.addUser(f)
	return f, nil
}

func (p *filePool) addUser(f *pooledFile) {
	f.users++
	if f.at != nil {
		p.idle.Remove(f.at)
		f.at = nil
	}
}

// closeFile closes a file that is in no list. It releases the lock while it
// does.
func (p *filePool) closeFile(f *pooledFile) {
	p.mu.Unlock()
	_ = f.Close() // The file was only read.
	p.mu.Lock()
	p.open--
	p.freed.Signal()
}

func (p *filePool) release(f *pooledFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	if f.dropped {
		p.closeFile(f)
		return
	}
	f.at = p.idle.PushFront(f)
	p.freed.Signal()
}

// forget makes the next read open the file again.
func (p *filePool) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[name]
	if f == nil {
		return
	}
	delete(p.files, name)
	f.dropped = true
	if f.users == 0 {
		p.idle.Remove(f.at)
		p.closeFile(f)
	}
}

// close closes all idle files. A file that is opened later for an open view is
// closed with the view's segments.
func (p *filePool) close() {
	p.mu.Lock()
	names := make([]string, 0, len(p.files))
	for name := range p.files {
		names = append(names, name)
	}
	p.mu.Unlock()
	for _, name := range names {
		p.forget(name)
	}
}

// file reads one file through the pool.
type file struct {
	pool *filePool
	name string
}

// ReadAt implements io.ReaderAt.
func (f file) ReadAt(b []byte, off int64) (int, error) {
	open, err := f.pool.acquire(f.name)
	if err != nil {
		return 0, err
	}
	defer f.pool.release(open)
	return open.ReadAt(b, off)
}

// size returns the current size of the file.
func (f file) size() (int64, error) {
	open, err := f.pool.acquire(f.name)
	if err != nil {
		return 0, err
	}
	defer f.pool.release(open)
	return open.Size()
}
