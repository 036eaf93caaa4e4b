// Package sealed is the form that a segment of the log takes when it is complete:
// its events in compressed blocks, and behind them what is needed to find them. A
// sealed file is written once and never changed.
//
// A file is
//
//	header     64 bytes: magic (8), version (1), 3 zeros, predecessor's checksum
//	           (4), base (8), salt (8), seed (8), predecessor's last sequence
//	           number (8), own last checksum (4), 8 zeros, CRC-32C
//	blocks     of up to 256 events, or 128 KiB of bodies, each
//	  header   72 bytes: magic (4), position of its first event (4), number of
//	           events (2), how metas and how bodies are packed (1 each), bytes of
//	           metas packed and unpacked, of bodies packed and unpacked (4 each),
//	           CRC-32C of metas and of bodies as they stand here, first and last
//	           time of receipt, first and last time of commit (8 each), CRC-32C
//	  metas    lengths of the metas and then of the bodies (varints), the metas
//	  bodies   one after the other
//	footer
//	  blocks   56 bytes each: where it begins (8), position of its first event,
//	           number of events, bytes of metas and of bodies (4 each), the times
//	  refs     names of bodies that stand elsewhere: length (varint), name
//	  keys     hashes of dedup keys: a table of package index
//	  foot     128 bytes, see foot
//
// Sequence numbers have no holes within a segment: an event's is base + position.
// Every number is little-endian. Times are Unix nanoseconds. Checksums take in
// the salt and where in the file the bytes stand that they are of.
package sealed

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

const (
	fileMagic    = "OSA.SEG\n"
	trailerMagic = "OSA.END\n"
	blockMagic   = 0x424f5361
	version      = 1

	headerSize      = 64
	blockHeaderSize = 72
	blockEntrySize  = 56
	trailerSize     = 128
)

// Header identifies a segment.
type Header struct {
	// Base is the sequence number of the first event.
	Base uint64
	// Salt is the segment's random number. Every checksum of the file includes
	// it.
	Salt uint64
	// Seed is the seed of the hashes of dedup keys.
	Seed index.Seed
	// PrevLast and PrevSum are the last sequence number and the last checksum of
	// the previous segment, so that a missing segment is noticed.
	PrevLast uint64
	PrevSum  uint32
	// Sum is the segment's own last checksum, which the next segment refers to.
	Sum uint32
}

func (h *Header) append(b []byte) []byte {
	b = append(b, fileMagic...)
	b = append(b, version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.PrevSum)
	b = binary.LittleEndian.AppendUint64(b, h.Base)
	b = binary.LittleEndian.AppendUint64(b, h.Salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Seed))
	b = binary.LittleEndian.AppendUint64(b, h.PrevLast)
	b = binary.LittleEndian.AppendUint32(b, h.Sum)
	b = append(b, make([]byte, 8)...)
	return binary.LittleEndian.AppendUint32(b, checksum.Salted(h.Salt, 0, b))
}

func (h *Header) parse(b []byte) error {
	if string(b[:8]) != fileMagic {
		return damaged("not a sealed segment")
	}
	*h = Header{
		PrevSum:  binary.LittleEndian.Uint32(b[12:]),
		Base:     binary.LittleEndian.Uint64(b[16:]),
		Salt:     binary.LittleEndian.Uint64(b[24:]),
		Seed:     index.Seed(binary.LittleEndian.Uint64(b[32:])),
		PrevLast: binary.LittleEndian.Uint64(b[40:]),
		Sum:      binary.LittleEndian.Uint32(b[48:]),
	}
	if binary.LittleEndian.Uint32(b[60:]) != checksum.Salted(h.Salt, 0, b[:60]) {
		return damaged("checksum of the header")
	}
	return checkVersion(b[8])
}

func checkVersion(v byte) error {
	if v != version {
		return fmt.Errorf("%w: sealed segment of version %d", storage.ErrFormat, v)
	}
	return nil
}

// defect is a storage.ErrDamaged with a description.
type defect string

func (d defect) Error() string        { return string(d) }
func (d defect) Is(target error) bool { return target == storage.ErrDamaged }

func damaged(format string, args ...any) error { return defect(fmt.Sprintf(format, args...)) }

// times bound when the events of a block were received and committed, in Unix
// nanoseconds, including both ends.
type times struct{ received, logged span }

type span struct{ min, max int64 }

// noTimes are the times of no events. anyTimes include every time.
var (
	noTimes  = times{span{math.MaxInt64, math.MinInt64}, span{math.MaxInt64, math.MinInt64}}
	anyTimes = times{span{math.MinInt64, math.MaxInt64}, span{math.MinInt64, math.MaxInt64}}
)

func (s *span) add(o span) { s.min, s.max = min(s.min, o.min), max(s.max, o.max) }

func (t *times) add(o times) {
	t.received.add(o.received)
	t.logged.add(o.logged)
}

func (t *times) append(b []byte) []byte {
	for _, n := range [...]int64{t.received.min, t.received.max, t.logged.min, t.logged.max} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func parseTimes(b []byte) times {
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	return times{span{at(0), at(1)}, span{at(2), at(3)}}
}

// nanos returns t in Unix nanoseconds. A time outside of their range becomes
// the nearest one.
func nanos(t time.Time) int64 {
	switch sec := t.Unix(); {
	case sec <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case sec >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// blockInfo describes a block in the footer.
type blockInfo struct {
	// off is the offset of the block, or lostOffset if recovery did not find it.
	off   int64
	first int
	count uint32
	// The sizes of the sections in the file.
	metasPacked, bodiesPacked uint32
	times                     times
}

const lostOffset = -1

func (b *blockInfo) end() int64 {
	return b.off + blockHeaderSize + int64(b.metasPacked) + int64(b.bodiesPacked)
}
func (b *blockInfo) next() int { return b.first + int(b.count) }

func (b *blockInfo) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.off))
	for _, n := range [...]uint32{uint32(b.first), b.count, b.metasPacked, b.bodiesPacked} {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	return b.times.append(dst)
}

func parseBlockInfo(b []byte) blockInfo {
	return blockInfo{
		off:          int64(binary.LittleEndian.Uint64(b)),
		first:        int(binary.LittleEndian.Uint32(b[8:])),
		count:        binary.LittleEndian.Uint32(b[12:]),
		metasPacked:  binary.LittleEndian.Uint32(b[16:]),
		bodiesPacked: binary.LittleEndian.Uint32(b[20:]),
		times:        parseTimes(b[24:]),
	}
}

// blockHeader is the header of a block.
type blockHeader struct {
	blockInfo
	metas, bodies section
}

func (h *blockHeader) append(dst []byte, salt uint64) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, blockMagic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.first))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(h.count))
	dst = append(dst, h.metas.packing, h.bodies.packing)
	for _, n := range [...]uint32{h.metas.packed, h.metas.size, h.bodies.packed, h.bodies.size, h.metas.sum, h.bodies.sum} {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	dst = h.times.append(dst)
	return binary.LittleEndian.AppendUint32(dst, checksum.Salted(salt, uint64(h.off), dst[start:]))
}

// parse decodes the header of the block at off.
func (h *blockHeader) parse(b []byte, salt uint64, off int64) error {
	if binary.LittleEndian.Uint32(b) != blockMagic {
		return damaged("no block begins at %d", off)
	}
	const end = blockHeaderSize - 4
	if binary.LittleEndian.Uint32(b[end:]) != checksum.Salted(salt, uint64(off), b[:end]) {
		return damaged("checksum of the block header at %d", off)
	}
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(b[12+4*i:]) }
	h.metas = section{packing: b[10], packed: at(0), size: at(1), sum: at(4)}
	h.bodies = section{packing: b[11], packed: at(2), size: at(3), sum: at(5)}
	h.blockInfo = blockInfo{
		off:         off,
		first:       int(binary.LittleEndian.Uint32(b[4:])),
		count:       uint32(binary.LittleEndian.Uint16(b[8:])),
		metasPacked: h.metas.packed, bodiesPacked: h.bodies.packed,
		times: parseTimes(b[36:]),
	}
	if h.count == 0 || h.count > blockEvents || h.next() > index.MaxPositions {
		return damaged("block of %d events from %d on", h.count, h.first)
	}
	return nil
}
