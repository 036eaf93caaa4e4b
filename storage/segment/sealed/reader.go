package sealed

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sort"
	"time"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// Info describes a sealed segment.
type Info struct {
	Header
	// Count is the number of events, from Base to Last.
	Count int
	// Size is the size of the file in bytes.
	Size int64
	// Footer is the checksum of the footer, which differs between segments. It is
	// 0 if the footer was lost.
	Footer uint32
	// The first and last times of receipt and commit, in UTC. They are undefined
	// if there are no events or some were lost.
	ReceivedMin, ReceivedMax time.Time
	LoggedMin, LoggedMax     time.Time
}

// Last returns the sequence number of the last event, or Base-1 if there is
// none.
func (i *Info) Last() uint64 { return i.Base + uint64(i.Count) - 1 }

func infoOf(f *trailer, blocks []blockInfo, size int64) Info {
	all := noTimes
	for i := range blocks {
		all.add(blocks[i].times)
	}
	at := func(n int64) time.Time {
		if n == math.MinInt64 {
			return time.Time{}
		}
		return time.Unix(0, n).UTC()
	}
	return Info{
		Header: f.Header, Count: f.count, Size: size, Footer: f.sum,
		ReceivedMin: at(all.received.min), ReceivedMax: at(all.received.max),
		LoggedMin: at(all.logged.min), LoggedMax: at(all.logged.max),
	}
}

// Reader reads a sealed segment. It is safe for concurrent use. It keeps the
// block table in memory, 56 bytes per block, and no events.
type Reader struct {
	r       io.ReaderAt
	info    Info
	trailer trailer
	blocks  []blockInfo
	keys    index.Table
	refs    []string // Set after recovery. Otherwise they are in the file.
	lost    bool     // Some blocks are lost.
}

// Open reads the footer of a file of the given size. storage.ErrDamaged means
// that the footer cannot be read: see Recover.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	s, err := open(r, size)
	if err != nil {
		return nil, fmt.Errorf("open sealed segment: %w", err)
	}
	return s, nil
}

func open(r io.ReaderAt, size int64) (*Reader, error) {
	s := &Reader{r: r}
	if err := readTrailer(r, size, &s.trailer); err != nil {
		return nil, err
	}
	b := make([]byte, s.trailer.blocks*blockEntrySize)
	if err := readAt(r, b, s.trailer.table); err != nil {
		return nil, err
	}
	if checksum.Salted(s.trailer.Salt, uint64(s.trailer.table), b) != s.trailer.tableSum {
		return nil, damaged("checksum of the block table")
	}
	s.blocks = make([]blockInfo, s.trailer.blocks)
	off, first := int64(headerSize), 0
	for i := range s.blocks {
		at := &s.blocks[i]
		*at = parseBlockInfo(b[i*blockEntrySize:])
		if at.off != off || at.first != first || at.count == 0 || at.count > blockEvents {
			return nil, damaged("block table that does not add up")
		}
		off, first = at.end(), at.next()
	}
	if off != s.trailer.table || first != s.trailer.count {
		return nil, damaged("block table that does not add up")
	}
	keys, err := index.OpenReader(r, s.trailer.keysOffset(), s.trailer.keysSize)
	if err != nil {
		return nil, err
	}
	if keys.Salt() != s.trailer.Salt {
		return nil, damaged("keys of another segment")
	}
	s.keys = keys
	s.info = infoOf(&s.trailer, s.blocks, size)
	return s, nil
}

func readTrailer(r io.ReaderAt, size int64, f *trailer) error {
	if size < headerSize+trailerSize {
		return damaged("sealed segment of %d bytes", size)
	}
	var b [trailerSize]byte
	if err := readAt(r, b[:], size-trailerSize); err != nil {
		return err
	}
	return f.parse(b[:], size)
}

// Info returns the description of the segment.
func (s *Reader) Info() Info { return s.info }

// Position returns the position of the first event whose sequence number is at
// least seq, or Count. exact means that it is seq itself.
func (s *Reader) Position(seq uint64) (pos int, exact bool) {
	switch {
	case seq < s.info.Base:
		return 0, false
	case seq-s.info.Base >= uint64(s.info.Count):
		return s.info.Count, false
	}
	return int(seq - s.info.Base), true
}

// Seq returns the sequence number at a position.
func (s *Reader) Seq(pos int) uint64 { return s.info.Base + uint64(pos) }

// Keys returns the table of the dedup keys' hashes, which were made with
// Info().Seed.
func (s *Reader) Keys() index.Table { return s.keys }

// BodyRefs returns the names of bodies that have their own files.
func (s *Reader) BodyRefs() ([]string, error) {
	if s.lost || s.trailer.refs == 0 {
		return s.refs, nil
	}
	b := make([]byte, s.trailer.refsSize)
	if err := readAt(s.r, b, s.trailer.refsOffset()); err != nil {
		return nil, fmt.Errorf("names of bodies: %w", err)
	}
	if checksum.Salted(s.trailer.Salt, uint64(s.trailer.refsOffset()), b) != s.trailer.refsSum {
		return nil, damaged("checksum of the names of bodies")
	}
	var refs []string
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, damaged("names of bodies")
		}
		refs = append(refs, string(b[w:w+int(n)]))
		b = b[w+int(n):]
	}
	if len(refs) != s.trailer.refs {
		return nil, damaged("number of the names of bodies")
	}
	return refs, nil
}

// block returns the number of the block that holds a position.
func (s *Reader) block(pos int) int {
	return sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].next() > pos })
}

// damage adds to an error which events it concerns. Errors that are not damage
// are returned as they are.
func (s *Reader) damage(first, next int, err error) error {
	if !isDamage(err) {
		return err
	}
	return &storage.DamageError{
		Range: storage.Range{First: s.Seq(first), Last: s.Seq(next - 1)},
		Where: fmt.Sprintf("%020d.seg", s.info.Base), Err: err,
	}
}
