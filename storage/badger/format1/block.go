package format1

import (
	"encoding/binary"

	"github.com/klauspost/compress/s2"
)

// A block holds consecutive events of one batch. Its value is
//
//	version, flags, crc32c of what follows, count, length of the metas stored,
//	metas, bodies if they stand here
//
// and the metas, when decompressed, are
//
//	for each event: end of its meta and end of its body (4 bytes each),
//	references to staged parts, the metas one after the other
//
// Bodies are separate where flagBodies is not set.
const (
	blockVersion  = 1
	flagBodies    = 1 // bodies stand in the block
	blockHeader   = 6
	maxBlockCount = 2048
)

// Parts of an event that can be staged.
const (
	stagedBody = 0
	stagedMeta = 1
)

// staged refers to a part of an event that stands in chunks.
type staged struct {
	index int // of the event in its block
	part  uint64
	id    uint64
	size  int
}

// block is one that was read.
type block struct {
	first, last uint64
	count       int
	bodiesHere  bool
	raw         []byte // of the metas, decompressed
	metas       []byte // the metas in raw
	refs        []staged
	bodies      []byte // packed, if they stand here
	buf         []byte
}

// parse reads the value of the block that ends at last. It keeps nothing of v.
func (b *block) parse(last uint64, v []byte) error {
	if len(v) < blockHeader || v[0] != blockVersion {
		return corrupt("block version")
	}
	if checksum(v[blockHeader:]) != binary.BigEndian.Uint32(v[2:]) {
		return corrupt("block checksum")
	}
	b.bodiesHere = v[1]&flagBodies != 0
	rest := v[blockHeader:]
	count, w := binary.Uvarint(rest)
	if w <= 0 || count == 0 || count > maxBlockCount || count > last {
		return corrupt("block count")
	}
	rest = rest[w:]
	size, w := binary.Uvarint(rest)
	if w <= 0 || uint64(len(rest)-w) < size {
		return corrupt("block size")
	}
	packed, bodies := rest[w:w+int(size)], rest[w+int(size):]
	b.count, b.last, b.first = int(count), last, last-count+1
	b.bodies = append(b.bodies[:0], bodies...)
	var err error
	if b.raw, err = readSection(&b.buf, packed); err != nil {
		return err
	}
	return b.parseTable()
}

func (b *block) parseTable() error {
	if len(b.raw) < 8*b.count {
		return corrupt("block table")
	}
	rest := b.raw[8*b.count:]
	n, w := binary.Uvarint(rest)
	if w <= 0 || n > 2*uint64(b.count) {
		return corrupt("block references")
	}
	rest = rest[w:]
	b.refs = b.refs[:0]
	for range n {
		x, w := binary.Uvarint(rest)
		if w <= 0 || len(rest) < w+8 {
			return corrupt("block reference")
		}
		id := binary.BigEndian.Uint64(rest[w:])
		rest = rest[w+8:]
		size, w := binary.Uvarint(rest)
		if w <= 0 || size > 1<<40 || x>>1 >= uint64(b.count) {
			return corrupt("block reference")
		}
		rest = rest[w:]
		b.refs = append(b.refs, staged{index: int(x >> 1), part: x & 1, id: id, size: int(size)})
	}
	b.metas = rest
	return nil
}

// span cuts what column col (0 meta, 1 body) of event i says out of section.
func (b *block) span(section []byte, i, col int) ([]byte, error) {
	end := binary.BigEndian.Uint32(b.raw[8*i+4*col:])
	var start uint32
	if i > 0 {
		start = binary.BigEndian.Uint32(b.raw[8*(i-1)+4*col:])
	}
	if start > end || uint64(end) > uint64(len(section)) {
		return nil, corrupt("block offsets")
	}
	return section[start:end], nil
}

// ref finds a staged part of event i.
func (b *block) ref(i int, part uint64) (staged, bool) {
	for _, r := range b.refs {
		if r.index == i && r.part == part {
			return r, true
		}
	}
	return staged{}, false
}

// How a section is stored.
const (
	sectionPlain = 0
	sectionS2    = 1
)

// maxSection bounds what a damaged section can claim to be.
const maxSection = 64 << 20

// readSection returns what a section holds. It uses *buf where it needs room;
// the result never shares memory with packed.
func readSection(buf *[]byte, packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, corrupt("empty section")
	}
	body := packed[1:]
	switch packed[0] {
	case sectionPlain:
		*buf = append((*buf)[:0], body...)
		return *buf, nil
	case sectionS2:
		n, err := s2.DecodedLen(body)
		if err != nil || n > maxSection {
			return nil, corrupt("section size")
		}
		if cap(*buf) < n {
			*buf = make([]byte, n)
		}
		out, err := s2.Decode((*buf)[:n], body)
		if err != nil {
			return nil, corrupt("section: " + err.Error())
		}
		return out, nil
	}
	return nil, corrupt("section kind")
}

// readBodies unpacks the separate bodies of a block.
func readBodies(buf *[]byte, v []byte) ([]byte, error) {
	if len(v) < 5 || checksum(v[4:]) != binary.BigEndian.Uint32(v) {
		return nil, corrupt("bodies checksum")
	}
	return readSection(buf, v[4:])
}
