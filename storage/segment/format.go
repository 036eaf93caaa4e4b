package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// An unsealed file, little endian:
//
//	at 0 and again at 512   file header
//	     0  8  magic
//	     8  4  version
//	    12  4  reserved, 0
//	    16  8  salt: random, goes into every checksum of the file
//	    24  8  base: the first sequence number
//	    32  8  the last sequence number before it in the log, 0 for none
//	    40  4  the checksum of the last batch before it, 0 for none
//	    44  4  reserved, 0
//	    48  8  seed of the store's index hashes
//	    56  4  checksum of the bytes before it, without salt
//	from 1024  batches, one behind the other, each
//	     0  4  magic
//	     4  4  checksum of the header from 8 on
//	     8  4  checksum of the batch header before, or of the file header
//	    12  4  count of events, 0 for the mark of a clean end
//	    16  8  sequence number of the first event
//	    24  4  length of the metas      28  4  checksum of the metas
//	    32  4  length of the bodies     36  4  checksum of the bodies
//	    40     metas: for each event the lengths of its meta and of its body, 4
//	           bytes each, and its meta as event.AppendBinary writes it
//	           bodies, in the same order
//
// Checksums are CRC-32C, begun with the eight bytes of the salt.
const (
	fileMagic     = "OSALOG\r\n"
	fileVersion   = 1
	fileHeadLen   = 60
	fileHeadCopy  = 512
	fileDataStart = 1024

	batchMagic   = 0x7442734f // "OsBt"
	batchHeadLen = 40
	entryHeadLen = 8
)

// maxEvents is the maximum number of events in a segment: positions have 16
// bits.
const maxEvents = 1 << 16

// maxBase is the highest base of a segment. Adding positions to it does not
// overflow.
const maxBase = math.MaxUint64 - 4*maxEvents

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errFormat  = errors.New("not as it was written")
)

// salted is the state of a checksum that starts with the salt.
type salted uint32

func newSalted(salt uint64) salted {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	return salted(crc32.Checksum(b[:], castagnoli))
}

func (s salted) sum(b []byte) uint32 { return crc32.Update(uint32(s), castagnoli, b) }

// fileHead is the header of an unsealed file.
type fileHead struct {
	salt uint64
	base uint64
	// predLast and predSum identify the batch before it, in whatever file that
	// is.
	predLast uint64
	predSum  uint32
	seed     index.Seed
	// sum is the header's own checksum, which the first batch refers to.
	sum uint32
}

// encode returns the bytes before the first batch, and sets h.sum.
func (h *fileHead) encode() []byte {
	b := make([]byte, fileDataStart)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[8:], fileVersion)
	binary.LittleEndian.PutUint64(b[16:], h.salt)
	binary.LittleEndian.PutUint64(b[24:], h.base)
	binary.LittleEndian.PutUint64(b[32:], h.predLast)
	binary.LittleEndian.PutUint32(b[40:], h.predSum)
	binary.LittleEndian.PutUint64(b[48:], uint64(h.seed))
	h.sum = crc32.Checksum(b[:56], castagnoli)
	binary.LittleEndian.PutUint32(b[56:], h.sum)
	copy(b[fileHeadCopy:], b[:fileHeadLen])
	return b
}

// parseFileHead decodes the header, or its copy, from the start of a file.
func parseFileHead(b []byte) (fileHead, error) {
	var first error
	for _, at := range []int{0, fileHeadCopy} {
		if len(b) < at {
			break
		}
		h, err := parseOneFileHead(b[at:])
		if err == nil {
			return h, nil
		}
		if first == nil {
			first = err
		}
	}
	return fileHead{}, first
}

func parseOneFileHead(b []byte) (fileHead, error) {
	if len(b) < fileHeadLen || string(b[:8]) != fileMagic {
		return fileHead{}, fmt.Errorf("%w: no header", errFormat)
	}
	sum := binary.LittleEndian.Uint32(b[56:])
	if crc32.Checksum(b[:56], castagnoli) != sum {
		return fileHead{}, fmt.Errorf("%w: checksum of the header", errFormat)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != fileVersion {
		return fileHead{}, fmt.Errorf("%w: version %d", errFormat, v)
	}
	if base := binary.LittleEndian.Uint64(b[24:]); base == 0 || base > maxBase {
		return fileHead{}, fmt.Errorf("%w: base %d", errFormat, base)
	}
	return fileHead{
		salt: binary.LittleEndian.Uint64(b[16:]), base: binary.LittleEndian.Uint64(b[24:]),
		predLast: binary.LittleEndian.Uint64(b[32:]), predSum: binary.LittleEndian.Uint32(b[40:]),
		seed: index.Seed(binary.LittleEndian.Uint64(b[48:])), sum: sum,
	}, nil
}

// batchHead is the header of a batch.
type batchHead struct {
	sum, prev            uint32
	count                uint32
	first                uint64
	metasLen, metasSum   uint32
	bodiesLen, bodiesSum uint32
}

func (h *batchHead) size() int64 { return batchHeadLen + int64(h.metasLen) + int64(h.bodiesLen) }

// put encodes the header into b and sets h.sum.
func (h *batchHead) put(b []byte, s salted) {
	binary.LittleEndian.PutUint32(b, batchMagic)
	binary.LittleEndian.PutUint32(b[8:], h.prev)
	binary.LittleEndian.PutUint32(b[12:], h.count)
	binary.LittleEndian.PutUint64(b[16:], h.first)
	binary.LittleEndian.PutUint32(b[24:], h.metasLen)
	binary.LittleEndian.PutUint32(b[28:], h.metasSum)
	binary.LittleEndian.PutUint32(b[32:], h.bodiesLen)
	binary.LittleEndian.PutUint32(b[36:], h.bodiesSum)
	h.sum = s.sum(b[8:batchHeadLen])
	binary.LittleEndian.PutUint32(b[4:], h.sum)
}

// parseBatchHead decodes a header from the start of b. ok is false if there is
// no valid header of this file.
func parseBatchHead(b []byte, s salted) (h batchHead, ok bool) {
	if len(b) < batchHeadLen || binary.LittleEndian.Uint32(b) != batchMagic {
		return batchHead{}, false
	}
	h = batchHead{
		sum: binary.LittleEndian.Uint32(b[4:]), prev: binary.LittleEndian.Uint32(b[8:]),
		count: binary.LittleEndian.Uint32(b[12:]), first: binary.LittleEndian.Uint64(b[16:]),
		metasLen: binary.LittleEndian.Uint32(b[24:]), metasSum: binary.LittleEndian.Uint32(b[28:]),
		bodiesLen: binary.LittleEndian.Uint32(b[32:]), bodiesSum: binary.LittleEndian.Uint32(b[36:]),
	}
	return h, h.sum == s.sum(b[8:batchHeadLen]) && h.count <= maxEvents
}

// appendBatch appends a batch of events with contiguous sequence numbers, and
// returns its header. prev is the checksum of the previous header.
func appendBatch(dst []byte, s salted, prev uint32, events []*event.Event) ([]byte, batchHead, error) {
	start := len(dst)
	dst = append(dst, make([]byte, batchHeadLen)...)
	var bodies uint64
	for _, e := range events {
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
		dst = e.AppendBinary(dst)
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-entryHeadLen))
		binary.LittleEndian.PutUint32(dst[at+4:], uint32(len(e.Body)))
		bodies += uint64(len(e.Body))
	}
	metas := dst[start+batchHeadLen:]
	if bodies > maxBatchPart || len(metas) > maxBatchPart {
		return dst[:start], batchHead{}, fmt.Errorf("a batch of %d bytes", bodies)
	}
	h := batchHead{prev: prev, count: uint32(len(events)), first: events[0].Seq, metasLen: uint32(len(metas)), metasSum: s.sum(metas), bodiesLen: uint32(bodies)}
	at := len(dst)
	for _, e := range events {
		dst = append(dst, e.Body...)
	}
	h.bodiesSum = s.sum(dst[at:])
	h.put(dst[start:], s)
	return dst, h, nil
}

// maxBatchPart limits what a reader allocates for the metas or the bodies of a
// batch.
const maxBatchPart = 1 << 30

// endMark returns the batch without events that marks a clean end.
func endMark(s salted, prev uint32, next uint64) []byte {
	b := make([]byte, batchHeadLen)
	h := batchHead{prev: prev, first: next, metasSum: s.sum(nil), bodiesSum: s.sum(nil)}
	h.put(b, s)
	return b
}

// entries calls fn with the meta and the length of the body of each event in a
// batch.
func entries(metas []byte, count int, fn func(i int, meta []byte, bodyLen uint32) error) error {
	for i := range count {
		if len(metas) < entryHeadLen {
			return fmt.Errorf("%w: metas end early", errFormat)
		}
		n, body := binary.LittleEndian.Uint32(metas), binary.LittleEndian.Uint32(metas[4:])
		metas = metas[entryHeadLen:]
		if uint64(n) > uint64(len(metas)) {
			return fmt.Errorf("%w: a meta of %d bytes", errFormat, n)
		}
		if err := fn(i, metas[:n], body); err != nil {
			return err
		}
		metas = metas[n:]
	}
	if len(metas) != 0 {
		return fmt.Errorf("%w: %d bytes behind the metas", errFormat, len(metas))
	}
	return nil
}

// decodeMeta decodes one event without its body.
func decodeMeta(meta []byte, seq uint64) (*event.Event, error) {
	e := &event.Event{Seq: seq}
	rest, err := e.DecodeBinary(meta)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind a meta", errFormat, len(rest))
	}
	return e, nil
}
