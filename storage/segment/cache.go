package segment

import (
	"container/list"
	"errors"
	"fmt"
	"sync"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

// maxHandles is how many sealed segments, and as many term tables, the log keeps
// in mind that nobody reads at the moment: some 20 KiB of positions for each.
const maxHandles = 512

// cache holds what was read of sealed files' footers, so many at a time, and
// forgets what was not used for the longest time.
type cache[H any] struct {
	open func(*sealedFile) (*H, error)
	free func(*H)

	mu      sync.Mutex
	entries map[*sealedFile]*cached[H]
	idle    list.List // of *cached[H], the one used last in front
}

type cached[H any] struct {
	file *sealedFile
	h    *H
	err  error
	// ready is closed when h or err is set.
	ready chan struct{}
	users int
	// gone: whoever lets go of it last frees it.
	gone bool
	at   *list.Element
}

func newCache[H any](open func(*sealedFile) (*H, error), free func(*H)) *cache[H] {
	return &cache[H]{open: open, free: free, entries: make(map[*sealedFile]*cached[H])}
}

// get returns what is open for a file; the caller calls done when it is through.
func (c *cache[H]) get(f *sealedFile) (h *H, done func(), err error) {
	c.mu.Lock()
	e := c.entries[f]
	if e == nil {
		e = &cached[H]{file: f, ready: make(chan struct{})}
		c.entries[f] = e
		e.users = 1
		c.mu.Unlock()
		e.h, e.err = c.open(f)
		close(e.ready)
	} else {
		if e.at != nil {
			c.idle.Remove(e.at)
			e.at = nil
		}
		e.users++
		c.mu.Unlock()
		<-e.ready
	}
	if e.err != nil {
		c.drop(f, e)
		c.done(e)
		return nil, nil, e.err
	}
	return e.h, func() { c.done(e) }, nil
}

func (c *cache[H]) done(e *cached[H]) {
	c.mu.Lock()
	var free []*H
	if e.users--; e.users == 0 {
		if e.gone {
			free = append(free, e.h)
		} else {
			e.at = c.idle.PushFront(e)
		}
	}
	for c.idle.Len() > maxHandles {
		old := c.idle.Remove(c.idle.Back()).(*cached[H])
		delete(c.entries, old.file)
		free = append(free, old.h)
	}
	c.mu.Unlock()
	c.freeAll(free)
}

func (c *cache[H]) freeAll(hs []*H) {
	for _, h := range hs {
		if h != nil {
			c.free(h)
		}
	}
}

// drop takes an entry out: e, or whatever stands for the file.
func (c *cache[H]) drop(f *sealedFile, e *cached[H]) {
	c.mu.Lock()
	var free []*H
	if have := c.entries[f]; have != nil && (e == nil || have == e) {
		delete(c.entries, f)
		have.gone = true
		if have.at != nil {
			c.idle.Remove(have.at)
			have.at = nil
			free = append(free, have.h)
		}
	}
	c.mu.Unlock()
	c.freeAll(free)
}

// close frees all that nobody uses; the others go when they are let go of.
func (c *cache[H]) close() {
	c.mu.Lock()
	var files []*sealedFile
	for f := range c.entries {
		files = append(files, f)
	}
	c.mu.Unlock()
	for _, f := range files {
		c.drop(f, nil)
	}
}

// sealedHandle is a sealed file whose footer was read.
type sealedHandle struct {
	f file
	r *sealed.Reader
}

func (h *sealedHandle) close() { h.f.close() }

func openSealed(s *sealedFile) (*sealedHandle, error) {
	h := &sealedHandle{f: file{s.log.pool, s.path}}
	size, err := h.f.size()
	if err == nil {
		h.r, err = sealed.Open(h.f, size)
	}
	if errors.Is(err, storage.ErrDamaged) {
		h.r, err = sealed.Recover(s.log.background(), h.f, size, s.expected)
	}
	if err != nil {
		h.f.close()
		return nil, err
	}
	return h, nil
}

// indexHandle is a term table whose header was read.
type indexHandle struct {
	f file
	r *index.Reader
}

func (h *indexHandle) close() { h.f.close() }

func openIndexes(s *sealedFile) (*indexHandle, error) {
	h := &indexHandle{f: file{s.log.pool, s.indexPath}}
	size, err := h.f.size()
	var head index.FileHeader
	if err == nil {
		h.r, head, err = index.OpenFile(h.f, size)
	}
	if err == nil && head != s.tableHeader() {
		err = fmt.Errorf("%w: %s is of another segment", storage.ErrDamaged, s.indexPath)
	}
	if err != nil {
		h.f.close()
		return nil, err
	}
	return h, nil
}
