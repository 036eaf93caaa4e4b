package badger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"

	"github.com/osa-edge/osa-gateway/event"
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
// Bodies are separate (flagBodies unset) unless they are so small that an entry
// of their own would cost more than reading past them. Sections are compressed
// here, once, over all events of the block, which are much alike: Badger's own
// compression works on 4 KiB at a time and again at every compaction.
const (
	blockVersion  = 1
	flagBodies    = 1 // bodies stand in the block
	blockHeader   = 6
	maxBlockBytes = 512 << 10 // of a section, before compression
	maxBlockCount = 256
	inlineBodies  = 4 << 10 // up to here bodies stand in the block
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func corrupt(what string) error { return fmt.Errorf("%w: %s", event.ErrCorrupt, what) }

// blockWriter gathers the events of a block. Its buffers are reused.
type blockWriter struct {
	ends   []uint32 // pairs
	metas  []byte
	bodies []byte
	refs   []staged
	raw    []byte
	packed []byte
	out    []byte // of all blocks of a batch
}

func (w *blockWriter) reset() {
	w.ends, w.metas, w.bodies, w.refs = w.ends[:0], w.metas[:0], w.bodies[:0], w.refs[:0]
}

func (w *blockWriter) count() int { return len(w.ends) / 2 }

// add appends an event. meta or body are nil where they are staged.
func (w *blockWriter) add(meta, body []byte, refs ...staged) {
	for _, r := range refs {
		r.index = w.count()
		w.refs = append(w.refs, r)
	}
	w.metas = append(w.metas, meta...)
	w.bodies = append(w.bodies, body...)
	w.ends = append(w.ends, uint32(len(w.metas)), uint32(len(w.bodies)))
}

// finish returns the block's value, and the bodies where they need an entry of
// their own, else nil. Both stay as they are until out is used again.
func (w *blockWriter) finish() (block, separate []byte) {
	w.raw = w.raw[:0]
	for _, end := range w.ends {
		w.raw = binary.BigEndian.AppendUint32(w.raw, end)
	}
	w.raw = binary.AppendUvarint(w.raw, uint64(len(w.refs)))
	for _, r := range w.refs {
		w.raw = binary.AppendUvarint(w.raw, uint64(r.index)<<1|r.part)
		w.raw = binary.BigEndian.AppendUint64(w.raw, r.id)
		w.raw = binary.AppendUvarint(w.raw, uint64(r.size))
	}
	w.raw = append(w.raw, w.metas...)
	w.packed = appendSection(w.packed[:0], w.raw)

	// Where out has to grow, what it gave out before stays in its old array.
	start := len(w.out)
	var flags byte
	if len(w.bodies) <= inlineBodies {
		flags = flagBodies
	}
	w.out = append(w.out, blockVersion, flags, 0, 0, 0, 0)
	w.out = binary.AppendUvarint(w.out, uint64(w.count()))
	w.out = binary.AppendUvarint(w.out, uint64(len(w.packed)))
	w.out = append(w.out, w.packed...)
	if flags&flagBodies != 0 {
		w.out = appendSection(w.out, w.bodies)
	}
	block = w.out[start:len(w.out):len(w.out)]
	binary.BigEndian.PutUint32(block[2:], checksum(block[blockHeader:]))
	if flags&flagBodies != 0 {
		return block, nil
	}
	start = len(w.out)
	w.out = appendSection(append(w.out, 0, 0, 0, 0), w.bodies)
	separate = w.out[start:len(w.out):len(w.out)]
	binary.BigEndian.PutUint32(separate, checksum(separate[4:]))
	return block, separate
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
	if w <= 0 || count == 0 || count > bucketSize || count > last {
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

// Sections below this are stored as they are.
const minCompressed = 512

const (
	sectionPlain = 0
	sectionS2    = 1
)

// appendSection appends raw, compressed where that is worth while.
func appendSection(dst, raw []byte) []byte {
	if len(raw) >= minCompressed {
		start := len(dst)
		dst = append(dst, sectionS2)
		need := s2.MaxEncodedLen(len(raw))
		dst = grow(dst, need)
		packed := s2.Encode(dst[start+1:start+1+need], raw)
		if len(packed) < len(raw)-len(raw)/8 {
			return dst[:start+1+len(packed)]
		}
		dst = dst[:start]
	}
	return append(append(dst, sectionPlain), raw...)
}

// grow makes room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, 2*cap(b)+n), b...)
	}
	return b
}

// maxSection bounds what a damaged section can claim to be.
const maxSection = 64 << 20

// readSection returns what appendSection took. It uses *buf where it needs room;
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
		*buf = grow((*buf)[:0], n)[:0]
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

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
