package index

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/osa-edge/osa-gateway/internal/checksum"
)

// A table in a file is
//
//	pages      of 4 KiB, the last one cut: CRC-32C, then up to 340 entries
//	postings   for each hash with more positions than one: length of the set
//	           (2 bytes), CRC-32C, the set (see Set.AppendBinary)
//	trailer    32 bytes: version, 3 zeros, number of entries (4), bytes of
//	           postings (8), salt (8), 4 zeros, CRC-32C
//
// An entry is a hash (8 bytes) and a value (4 bytes): the only position, or
// listFlag and where its posting begins. Entries ascend by their hashes. Hashes
// are even, so that where an entry stands can be told from its hash well enough.
// Every number is little-endian, every checksum takes in the salt and the place.
const (
	tableVersion = 1
	pageSize     = 4096
	entrySize    = 12
	pageEntries  = (pageSize - 4) / entrySize
	postingHead  = 6
	tableTrailer = 32
)

// What a checksum takes in as its position: a page uses its number, the others
// use numbers beyond those.
const (
	sumPosting = 1 << 62
	sumTrailer = 1 << 63
)

// Write writes the table in its file form and returns its size in bytes. It
// keeps the postings in memory until the entries are written.
func (m *MemTable) Write(w io.Writer, salt uint64) (int64, error) {
	t := tableWriter{w: bufio.NewWriterSize(w, 16*pageSize), salt: salt}
	var slots []slot
	for i := range m.shards {
		slots = m.sorted(i, slots[:0])
		for j := range slots {
			value := slots[j].value - 1
			if slots[j].value&listFlag != 0 {
				m.mu.RLock()
				s := m.slotSet(&slots[j])
				m.mu.RUnlock()
				value = listFlag | t.posting(s)
			}
			if err := t.entry(slots[j].hash(), value); err != nil {
				return t.written, err
			}
		}
	}
	return t.finish()
}

type tableWriter struct {
	w        *bufio.Writer
	salt     uint64
	page     []byte
	pages    uint64
	entries  uint32
	postings []byte
	written  int64
}

// posting appends a set and returns its offset.
func (t *tableWriter) posting(s Set) uint32 {
	start := len(t.postings)
	t.postings = append(t.postings, make([]byte, postingHead)...)
	t.postings = s.AppendBinary(t.postings)
	set := t.postings[start+postingHead:]
	binary.LittleEndian.PutUint16(t.postings[start:], uint16(len(set)))
	binary.LittleEndian.PutUint32(t.postings[start+2:], checksum.Salted(t.salt, sumPosting|uint64(start), set))
	return uint32(start)
}

func (t *tableWriter) entry(hash uint64, value uint32) error {
	if len(t.page) == 0 {
		t.page = append(t.page, 0, 0, 0, 0)
	}
	t.page = binary.LittleEndian.AppendUint64(t.page, hash)
	t.page = binary.LittleEndian.AppendUint32(t.page, value)
	t.entries++
	if len(t.page) < 4+pageEntries*entrySize {
		return nil
	}
	t.page = append(t.page, make([]byte, pageSize-len(t.page))...)
	return t.flush()
}

func (t *tableWriter) flush() error {
	binary.LittleEndian.PutUint32(t.page, checksum.Salted(t.salt, t.pages, t.page[4:]))
	err := t.write(t.page)
	t.page = t.page[:0]
	t.pages++
	return err
}

func (t *tableWriter) write(b []byte) error {
	n, err := t.w.Write(b)
	t.written += int64(n)
	return err
}

func (t *tableWriter) finish() (int64, error) {
	if len(t.page) > 0 {
		if err := t.flush(); err != nil {
			return t.written, err
		}
	}
	if err := t.write(t.postings); err != nil {
		return t.written, err
	}
	var end [tableTrailer]byte
	end[0] = tableVersion
	binary.LittleEndian.PutUint32(end[4:], t.entries)
	binary.LittleEndian.PutUint64(end[8:], uint64(len(t.postings)))
	binary.LittleEndian.PutUint64(end[16:], t.salt)
	binary.LittleEndian.PutUint32(end[28:], checksum.Salted(t.salt, sumTrailer, end[:28]))
	if err := t.write(end[:]); err != nil {
		return t.written, err
	}
	return t.written, t.w.Flush()
}

// pagesSize returns the size in bytes of the pages for so many entries.
func pagesSize(entries int) int64 {
	full, rest := entries/pageEntries, entries%pageEntries
	size := int64(full) * pageSize
	if rest > 0 {
		size += int64(4 + rest*entrySize)
	}
	return size
}
