package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sort"
	"sync"
	"syscall"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
)

// Reader reads a table that MemTable.Write wrote. It is safe for concurrent use
// and keeps no part of the table in memory.
type Reader struct {
	r        io.ReaderAt
	off      int64
	entries  int
	postings int64 // The offset of the postings.
	end      int64 // The end of the postings.
	salt     uint64
}

// OpenReader reads the trailer of the table at off, which is size bytes long.
// It returns storage.ErrDamaged if there is no valid table.
func OpenReader(r io.ReaderAt, off, size int64) (*Reader, error) {
	if off < 0 || size < tableTrailer {
		return nil, damaged("table of %d bytes", size)
	}
	var end [tableTrailer]byte
	if err := readAt(r, end[:], off+size-tableTrailer); err != nil {
		return nil, err
	}
	salt := binary.LittleEndian.Uint64(end[16:])
	if binary.LittleEndian.Uint32(end[28:]) != checksum.Salted(salt, sumTrailer, end[:28]) {
		return nil, damaged("checksum of a table's trailer")
	}
	if end[0] != tableVersion {
		return nil, fmt.Errorf("%w: table of version %d", storage.ErrFormat, end[0])
	}
	entries := int(binary.LittleEndian.Uint32(end[4:]))
	pages := pagesSize(entries)
	if postings := binary.LittleEndian.Uint64(end[8:]); postings > uint64(size) || pages+int64(postings)+tableTrailer != size {
		return nil, damaged("table of %d entries in %d bytes", entries, size)
	}
	return &Reader{r: r, off: off, entries: entries, postings: off + pages, end: off + size - tableTrailer, salt: salt}, nil
}

// Len returns the number of different hashes.
func (t *Reader) Len() int { return t.entries }

// Salt returns the salt of the table.
func (t *Reader) Salt() uint64 { return t.salt }

// windowPages is how many pages a lookup reads at once. In most tables a hash
// is in the estimated page or next to it, and reading two pages costs as much
// as reading one.
const windowPages = 2

var windows = sync.Pool{New: func() any { return new([max(windowPages*pageSize, postingHead+maxSetBytes)]byte) }}

// Get implements Source. It needs about one read, and one more if the hash has
// several positions.
func (t *Reader) Get(hash uint64) (Set, bool, error) {
	buf := windows.Get().(*[max(windowPages*pageSize, postingHead+maxSetBytes)]byte)
	defer windows.Put(buf)
	value, ok, err := t.find(hash, buf[:windowPages*pageSize])
	if err != nil || !ok {
		return Set{}, false, err
	}
	if value&listFlag == 0 {
		if value >= MaxPositions {
			return Set{}, false, damaged("position %d", value)
		}
		return Set{array: []uint16{uint16(value)}}, true, nil
	}
	s, err := t.posting(int64(value&^listFlag), buf[:])
	return s, err == nil, err
}

// maxGuesses is how often find interpolates before it bisects.
const maxGuesses = 4

// find looks for the hash in the pages from lo up to hi. Every read narrows the
// range, so it ends whatever the pages contain.
func (t *Reader) find(hash uint64, buf []byte) (value uint32, ok bool, err error) {
	lo, hi := 0, (t.entries+pageEntries-1)/pageEntries
	// The hash is between the entries first and last, whose hashes are least and
	// most.
	first, last := 0, t.entries
	least, most := uint64(0), ^uint64(0)
	for n := 0; lo < hi; n++ {
		page := (lo + hi - 1) / 2
		if n < maxGuesses {
			// The window starts half a page before the estimate.
			at := first + interpolate(hash, least, most, last-first)
			page = max(0, at-pageEntries/2) / pageEntries
		}
		page = min(max(page, lo), max(lo, hi-windowPages))
		entries, err := t.pages(page, min(windowPages, hi-page), buf)
		if err != nil {
			return 0, false, err
		}
		at := sort.Search(entries.len(), func(i int) bool { return entries.hash(i) >= hash })
		switch {
		case at == entries.len():
			lo = page + windowPages
			first, least = page*pageEntries+entries.len(), max(least, min(hash, entries.hash(at-1)))
		case entries.hash(at) == hash:
			return entries.value(at), true, nil
		case at == 0:
			hi = page
			last, most = page*pageEntries, min(most, max(hash, entries.hash(0)))
		default:
			return 0, false, nil // The page holds both neighbours of the hash and not the hash.
		}
	}
	return 0, false, nil
}

// interpolate estimates the index of the hash among n entries from least to
// most.
func interpolate(hash, least, most uint64, n int) int {
	if n <= 0 || hash <= least {
		return 0
	}
	if hash >= most {
		return n - 1
	}
	// (hash-least) * n / (most-least), which is below n.
	hi, lo := bits.Mul64(hash-least, uint64(n))
	q, _ := bits.Div64(hi, lo, most-least)
	return min(int(q), n-1)
}

// pageView is a view of the entries of consecutive pages.
type pageView struct {
	b []byte
	n int
}

func (p pageView) len() int { return p.n }

func (p pageView) entry(i int) []byte {
	return p.b[i/pageEntries*pageSize+4+i%pageEntries*entrySize:]
}

func (p pageView) hash(i int) uint64  { return binary.LittleEndian.Uint64(p.entry(i)) }
func (p pageView) value(i int) uint32 { return binary.LittleEndian.Uint32(p.entry(i)[8:]) }

// pages reads and verifies n pages. They hold at least one entry.
func (t *Reader) pages(page, n int, buf []byte) (pageView, error) {
	count := min(n*pageEntries, t.entries-page*pageEntries)
	b := buf[:pagesSize(count)]
	if err := readAt(t.r, b, t.off+int64(page)*pageSize); err != nil {
		return pageView{}, err
	}
	for i := range n {
		one := b[i*pageSize : min((i+1)*pageSize, len(b))]
		if binary.LittleEndian.Uint32(one) != checksum.Salted(t.salt, uint64(page+i), one[4:]) {
			return pageView{}, damaged("checksum of page %d of a table", page+i)
		}
	}
	return pageView{b: b, n: count}, nil
}

func (t *Reader) posting(off int64, buf []byte) (Set, error) {
	at := t.postings + off
	if at+postingHead > t.end {
		return Set{}, damaged("posting beyond its table")
	}
	b := buf[:min(int64(len(buf)), t.end-at)]
	if err := readAt(t.r, b, at); err != nil {
		return Set{}, err
	}
	size := int(binary.LittleEndian.Uint16(b))
	if size > len(b)-postingHead {
		return Set{}, damaged("posting of %d bytes", size)
	}
	set := b[postingHead : postingHead+size]
	if binary.LittleEndian.Uint32(b[2:]) != checksum.Salted(t.salt, sumPosting|uint64(off), set) {
		return Set{}, damaged("checksum of a posting")
	}
	return ParseSet(set)
}

// Hashes implements Table. It reads the pages in order, 256 KiB at a time.
func (t *Reader) Hashes(fn func(hash uint64) bool) error {
	const atOnce = 64
	pages := (t.entries + pageEntries - 1) / pageEntries
	buf := make([]byte, min(atOnce, pages)*pageSize)
	for page := 0; page < pages; page += atOnce {
		view, err := t.pages(page, min(atOnce, pages-page), buf)
		if err != nil {
			return err
		}
		for i := range view.len() {
			if !fn(view.hash(i)) {
				return nil
			}
		}
	}
	return nil
}

// readAt fills b. Bytes that the file does not have or the disk cannot read are
// storage.ErrDamaged. Other errors, such as that of a closed file, are returned
// as they are.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %d of %d bytes at %d: %w", storage.ErrDamaged, n, len(b), off, errors.Join(err))
	}
	return fmt.Errorf("read at %d: %w", off, err)
}

var _ Table = (*Reader)(nil)
