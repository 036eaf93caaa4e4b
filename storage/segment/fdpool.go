package segment

import (
	"container/list"
	"sync"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// maxFiles is how many files are held open that nobody reads at the moment.
const maxFiles = 96

// filePool opens files when they are read, and closes those that were not read
// for the longest time. So what is known of a thousand segments can stay in
// memory without a thousand descriptors.
type filePool struct {
	fs disk.FS

	mu    sync.Mutex
	files map[string]*pooledFile
	idle  list.List // of *pooledFile, the one used last in front
}

// pooledFile is an open file of the pool.
type pooledFile struct {
	name string
	disk.File
	users int
	gone  bool // whoever lets go of it last closes it
	at    *list.Element
}

func newFilePool(fs disk.FS) *filePool {
	return &filePool{fs: fs, files: make(map[string]*pooledFile)}
}

// acquire returns the open file; release has to follow.
func (p *filePool) acquire(name string) (*pooledFile, error) {
	p.mu.Lock()
	if f := p.files[name]; f != nil {
		p.use(f)
		p.mu.Unlock()
		return f, nil
	}
	p.mu.Unlock()
	opened, err := p.fs.Open(name)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	f := p.files[name]
	if f == nil {
		f, opened = &pooledFile{name: name, File: opened}, nil
		p.files[name] = f
	}
	p.use(f)
	p.mu.Unlock()
	if opened != nil { // another was faster
		_ = opened.Close()
	}
	return f, nil
}

func (p *filePool) use(f *pooledFile) {
	f.users++
	if f.at != nil {
		p.idle.Remove(f.at)
		f.at = nil
	}
}

func (p *filePool) release(f *pooledFile) {
	var closing []*pooledFile
	p.mu.Lock()
	if f.users--; f.users == 0 {
		if f.gone {
			closing = append(closing, f)
		} else {
			f.at = p.idle.PushFront(f)
		}
	}
	for p.idle.Len() > maxFiles {
		old := p.idle.Remove(p.idle.Back()).(*pooledFile)
		delete(p.files, old.name)
		closing = append(closing, old)
	}
	p.mu.Unlock()
	for _, f := range closing {
		_ = f.Close() // it was only read
	}
}

// forget has the next read open the file anew.
func (p *filePool) forget(name string) {
	p.mu.Lock()
	f := p.files[name]
	delete(p.files, name)
	idle := f != nil && f.users == 0
	if f != nil {
		f.gone = true
	}
	if idle {
		p.idle.Remove(f.at)
	}
	p.mu.Unlock()
	if idle {
		_ = f.Close()
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
