package segment

import (
	"container/list"
	"sync"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// maxFiles is how many files are open at the same time, unless the options say
// otherwise.
const maxFiles = 96

// filePool opens files when they are read, and closes those that were not read
// for the longest time. So what is known of a thousand segments can stay in
// memory without a thousand descriptors. While all that it may open are being
// read, who needs another one waits for the end of a read.
type filePool struct {
	fs  disk.FS
	max int

	mu    sync.Mutex
	freed sync.Cond // signalled when a file is idle or closed
	open  int       // files that are open, or about to be
	files map[string]*pooledFile
	idle  list.List // of *pooledFile, the one used last in front
}

// pooledFile is an open file of the pool.
type pooledFile struct {
	name string
	disk.File
	users   int
	dropped bool // whoever lets go of it last closes it
	at      *list.Element
}

func newFilePool(fs disk.FS, most int) *filePool {
	p := &filePool{fs: fs, max: most, files: make(map[string]*pooledFile)}
	p.freed.L = &p.mu
	return p
}

// acquire returns the open file; release has to follow. Nobody may wait for another
// file meanwhile.
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
	if f := p.files[name]; f != nil { // another was faster
		p.addUser(f) // before the lock is let go of: it may be closed otherwise
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

// closeFile closes a file that is in no list any more. The lock is not held meanwhile.
func (p *filePool) closeFile(f *pooledFile) {
	p.mu.Unlock()
	_ = f.Close() // it was only read
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

// forget has the next read open the file anew.
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

// close closes all that nobody reads. What is opened for a view that outlives the
// log goes with the view's segments.
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

// file is one file of the pool, for reading.
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

// size is the file's size now.
func (f file) size() (int64, error) {
	open, err := f.pool.acquire(f.name)
	if err != nil {
		return 0, err
	}
	defer f.pool.release(open)
	return open.Size()
}
