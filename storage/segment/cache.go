package segment

import (
	"errors"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

// maxReaders is the number of sealed segments, and of term tables, whose
// footers stay in memory: about 20 KiB each.
const maxReaders = 512

// cache holds the most recently used readers of sealed files. They hold no file
// descriptors: see filePool.
type cache[R any] struct {
	open    func(*sealedFile) (R, error)
	readers *lru.Cache[*sealedFile, R]
}

func newCache[R any](open func(*sealedFile) (R, error)) *cache[R] {
	readers, _ := lru.New[*sealedFile, R](maxReaders) // New fails only for sizes that are not positive.
	return &cache[R]{open: open, readers: readers}
}

// get returns the reader of a file. Two concurrent callers may both create one.
func (c *cache[R]) get(f *sealedFile) (R, error) {
	if r, ok := c.readers.Get(f); ok {
		return r, nil
	}
	r, err := c.open(f)
	if err == nil {
		c.readers.Add(f, r)
	}
	return r, err
}

func (c *cache[R]) drop(f *sealedFile) { c.readers.Remove(f) }

// readFooter reads the footer of a sealed file, or recovers it from the blocks.
func readFooter(s *sealedFile) (*sealed.Reader, error) {
	f := file{s.log.pool, s.path}
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	r, err := sealed.Open(f, size)
	if errors.Is(err, storage.ErrDamaged) {
		r, err = sealed.Recover(s.log.background(), f, size, s.expected)
	}
	return r, err
}

// readTerms opens the term table of a sealed file and checks that it belongs to
// that file.
func readTerms(s *sealedFile) (*index.Reader, error) {
	f := file{s.log.pool, s.indexPath}
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	r, head, err := index.OpenFile(f, size)
	if err == nil && head != s.tableHeader() {
		err = fmt.Errorf("%w: %s is of another segment", storage.ErrDamaged, s.indexPath)
	}
	return r, err
}
