package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// A backup of the log is a sequence of frames, little endian: kind 1, zeros 3,
// length of the payload 4, CRC-32C of the eight bytes before and the payload 4,
// payload.
//
//	marks    after 8, head 8, and what the floor file holds: begins a stream, and
//	         comes again before its end with the floor as it is then
//	large    name 32, size 8: a large body, in the data that follow
//	segment  base 8, size 8: a sealed file, in the data that follow
//	batch    sequence number before it in the log 8, first 8, count 4, size 8: for
//	         each event, in the data that follow, the lengths of its meta and its
//	         body, 4 each, meta, body
//	data     up to 1 MiB
//	end      head 8, number of events 8
const (
	frameManifest = iota + 1
	frameLarge
	frameSegment
	frameBatch
	frameData
	frameEnd

	frameHeadLen = 12
	maxFrame     = 1 << 20
)

// frameWriter writes frames. Between begin and the last of the announced bytes
// it is a writer of data.
type frameWriter struct {
	w io.Writer
	// left is how many bytes of data are still expected.
	left int64
	buf  []byte
}

func (f *frameWriter) frame(kind byte, payload []byte) error {
	var head [frameHeadLen]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[4:], uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(head[:8], castagnoli), castagnoli, payload)
	binary.LittleEndian.PutUint32(head[8:], sum)
	if _, err := f.w.Write(head[:]); err != nil {
		return err
	}
	_, err := f.w.Write(payload)
	return err
}

// begin writes a frame that is followed by size bytes of data.
func (f *frameWriter) begin(kind byte, payload []byte, size int64) error {
	f.left = size
	return f.frame(kind, payload)
}

// Write collects data into frames.
func (f *frameWriter) Write(b []byte) (int, error) {
	n := len(b)
	if int64(n) > f.left {
		return 0, fmt.Errorf("%d bytes where %d are due", n, f.left)
	}
	f.left -= int64(n)
	for len(b) > 0 {
		if len(f.buf) == 0 && len(b) >= maxFrame {
			if err := f.frame(frameData, b[:maxFrame]); err != nil {
				return 0, err
			}
			b = b[maxFrame:]
			continue
		}
		k := min(len(b), maxFrame-len(f.buf))
		f.buf = append(f.buf, b[:k]...)
		b = b[k:]
		if len(f.buf) == maxFrame {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	if f.left == 0 {
		return n, f.flush()
	}
	return n, nil
}

func (f *frameWriter) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	err := f.frame(frameData, f.buf)
	f.buf = f.buf[:0]
	return err
}

// frameReader reads frames. It never reads beyond the frame that was asked for.
type frameReader struct {
	r   io.Reader
	buf []byte
}

// next returns the next frame. The payload is valid until the next call.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	var head [frameHeadLen]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: the stream ends early: %w", errFormat, err)
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if head[0] == frameManifest && n > math.MaxInt32 || head[0] != frameManifest && n > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errFormat, n)
	}
	// Read in pieces, because the announced size may be wrong.
	f.buf = f.buf[:0]
	for len(f.buf) < int(n) {
		k := min(int(n)-len(f.buf), maxFrame)
		at := len(f.buf)
		f.buf = append(f.buf, make([]byte, k)...)
		if _, err := io.ReadFull(f.r, f.buf[at:]); err != nil {
			return 0, nil, fmt.Errorf("%w: the stream ends early: %w", errFormat, err)
		}
	}
	if crc32.Update(crc32.Checksum(head[:8], castagnoli), castagnoli, f.buf) != binary.LittleEndian.Uint32(head[8:]) {
		return 0, nil, fmt.Errorf("%w: checksum of a frame", errFormat)
	}
	return head[0], f.buf, nil
}

// data calls fn with the size bytes of data that follow.
func (f *frameReader) data(size uint64, fn func([]byte) error) error {
	for size > 0 {
		kind, b, err := f.next()
		if err != nil {
			return err
		}
		if kind != frameData || len(b) == 0 || uint64(len(b)) > size {
			return fmt.Errorf("%w: a frame of kind %d where data are due", errFormat, kind)
		}
		if err := fn(b); err != nil {
			return err
		}
		size -= uint64(len(b))
	}
	return nil
}
