package sealed

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/klauspost/compress/s2"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
)

// A section is stored as it is or compressed with S2.
const (
	packedPlain = 0
	packedS2    = 1
)

const (
	// minPacked is the shortest section that is compressed.
	minPacked = 256
	// maxFreeSize and maxRatio limit the size of a compressed section after
	// decompression: to so many bytes, or so many times its size in the file.
	// Other sections are stored plain. A reader does not allocate more than that.
	maxFreeSize = 1 << 20
	maxRatio    = 64
	// maxSection is the longest section.
	maxSection = 1 << 30
)

// section is one of the two parts of a block.
type section struct {
	packing byte
	// packed is the size in the file, size the size of the content.
	packed, size uint32
	sum          uint32
}

// pack appends raw to dst in its shorter form. off is the offset in the file
// where that will be.
func pack(dst, raw []byte, salt uint64, off int64) ([]byte, section) {
	s := section{packing: packedPlain, size: uint32(len(raw))}
	start := len(dst)
	if len(raw) >= minPacked {
		dst = grow(dst, s2.MaxEncodedLen(len(raw)))
		out := s2.EncodeBetter(dst[start:cap(dst)], raw)
		if n := len(out); n < len(raw)-len(raw)/16 && allowedRatio(len(raw), n) {
			s.packing = packedS2
			dst = dst[:start+n]
		}
	}
	if s.packing == packedPlain {
		dst = append(dst, raw...)
	}
	s.packed = uint32(len(dst) - start)
	s.sum = checksum.Salted(salt, uint64(off), dst[start:])
	return dst, s
}

func allowedRatio(size, packed int) bool { return size <= maxFreeSize || size/maxRatio <= packed }

// unpack verifies b, which was read at off, and returns its content. It uses
// the memory of buf if that is large enough. The result may be b itself.
func (s *section) unpack(buf, b []byte, salt uint64, off int64) ([]byte, error) {
	if checksum.Salted(salt, uint64(off), b) != s.sum {
		return nil, damaged("checksum of %d bytes at %d", len(b), off)
	}
	switch s.packing {
	case packedPlain:
		if len(b) != int(s.size) {
			return nil, damaged("size of the section at %d", off)
		}
		return b, nil
	case packedS2:
		n, err := s2.DecodedLen(b)
		if err != nil || n != int(s.size) || !allowedRatio(n, len(b)) {
			return nil, damaged("size of the section at %d", off)
		}
		buf = grow(buf[:0], n)
		out, err := s2.Decode(buf[:n], b)
		if err != nil {
			return nil, damaged("section at %d: %v", off, err)
		}
		return out, nil
	}
	return nil, damaged("packing of the section at %d", off)
}

// grow makes room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, len(b)+n), b...)
	}
	return b
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
		return damaged("%d of %d bytes at %d: %v", n, len(b), off, err)
	}
	return fmt.Errorf("read at %d: %w", off, err)
}

// isDamage tells damage from temporary errors.
func isDamage(err error) bool { return errors.Is(err, storage.ErrDamaged) }
