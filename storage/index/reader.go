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

// Reader reads a table that Mem.Write wrote. It may be used by several
// goroutines, and holds nothing of the table in memory.
type Reader struct {
	r        io.ReaderAt
	off      int64
	entries  int
	postings int64 // where they begin
	end      int64 // where they end
	salt     uint64
}

// OpenReader reads the trailer of the table that stands at off and is size bytes
// long. An error that is storage.ErrDamaged says that no table is there.
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

// Len is how many different hashes there are.
func (t *Reader) Len() int { return t.entries }

// Salt is what the table was written with.
func (t *Reader) Salt() uint64 { return t.salt }

// windowPages is how many pages a look-up reads at once. The page that a hash is
// guessed to stand in is right or next to right in most tables, and one read of
// two pages costs as much as one of one.
const windowPages = 2

var windows = sync.Pool{New: func() any { return new([max(windowPages*pageSize, postingHead+maxSetBytes)]byte) }}

// Get implements Source. It reads about once, and once more where the hash has
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

// maxGuesses is how often find guesses before it halves what is left.
const maxGuesses = 4

// find looks for the hash in the pages from lo up to hi, of which it drops what
// it has seen, so that it ends whatever the pages hold.
func (t *Reader) find(hash uint64, buf []byte) (value uint32, ok bool, err error) {
	lo, hi := 0, (t.entries+pageEntries-1)/pageEntries
	// The hash stands among the entries from first up to last, whose hashes are
	// from least up to most.
	first, last := 0, t.entries
	least, most := uint64(0), ^uint64(0)
	for n := 0; lo < hi; n++ {
		page := (lo + hi - 1) / 2
		if n < maxGuesses {
			// The window begins half a page before the guess.
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
			return 0, false, nil // it would stand between two that are here
		}
	}
	return 0, false, nil
}

// interpolate is where among n entries from least to most the hash would be.
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

// pageView are the entries of some pages that follow each other.
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

// pages reads n pages and checks them. At least one entry is in them.
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

// readAt fills b. What the file lacks and what the disk cannot read are damage;
// other errors, such as that of a file that was closed, are passed on.
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
