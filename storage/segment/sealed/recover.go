package sealed

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// Recover opens a segment with a damaged footer by reading its blocks. count is
// the number of events of the segment if known, or 0. Events between the blocks
// that are found count as damaged: see Damaged. The reader keeps the hashes of
// the dedup keys in memory. If nothing identifies the file, Recover fails with
// storage.ErrDamaged.
func Recover(ctx context.Context, r io.ReaderAt, size int64, count int) (*Reader, error) {
	s := &Reader{r: r, lost: true}
	if err := s.recover(ctx, size, min(count, index.MaxPositions)); err != nil {
		return nil, fmt.Errorf("recover sealed segment: %w", err)
	}
	return s, nil
}

func (s *Reader) recover(ctx context.Context, size int64, count int) error {
	var f trailer
	if err := readTrailer(s.r, size, &f); err == nil {
		s.trailer.Header, count = f.Header, max(count, f.count)
	} else if !isDamage(err) {
		return err
	} else {
		var b [headerSize]byte
		if err := readAt(s.r, b[:], 0); err != nil {
			return err
		}
		if err := s.trailer.Header.parse(b[:]); err != nil {
			return err
		}
	}
	s.info.Header = s.trailer.Header
	if err := s.findBlocks(ctx, size); err != nil {
		return err
	}
	s.fillGaps(count)
	s.info = infoOf(&s.trailer, s.blocks, size)
	keys := index.NewMemTable()
	s.keys = keys
	return s.eachReadable(ctx, func(pos int, e *event.Event) {
		keys.Add(s.info.Seed.Key(e), uint16(pos))
		if e.BodyRef != "" {
			s.refs = append(s.refs, e.BodyRef)
		}
	})
}

// findBlocks reads block after block, and searches for the next header where
// none begins.
func (s *Reader) findBlocks(ctx context.Context, size int64) error {
	var b [blockHeaderSize]byte
	for off := int64(headerSize); off+blockHeaderSize <= size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var h blockHeader
		err := readAt(s.r, b[:], off)
		if err == nil {
			err = h.parse(b[:], s.info.Salt, off)
		}
		switch {
		case err == nil && h.end() <= size && h.first >= s.nextPosition():
			s.blocks = append(s.blocks, h.blockInfo)
			off = h.end()
		case err != nil && !isDamage(err):
			return err
		default:
			if off, err = s.search(ctx, off+1, size); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextPosition returns the position after the last block.
func (s *Reader) nextPosition() int {
	if n := len(s.blocks); n > 0 {
		return s.blocks[n-1].next()
	}
	return 0
}

// search returns the offset of the next block header, or size.
func (s *Reader) search(ctx context.Context, off, size int64) (int64, error) {
	const step = 256 << 10
	buf := make([]byte, min(step+blockHeaderSize, size))
	for ; off+blockHeaderSize <= size; off += step {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b := buf[:min(int64(len(buf)), size-off)]
		if err := readAt(s.r, b, off); isDamage(err) {
			clear(b) // Skip what cannot be read.
		} else if err != nil {
			return 0, err
		}
		for i := 0; i < step && i+blockHeaderSize <= len(b); i++ {
			if binary.LittleEndian.Uint32(b[i:]) != blockMagic {
				continue
			}
			var h blockHeader
			if h.parse(b[i:i+blockHeaderSize], s.info.Salt, off+int64(i)) == nil {
				return off + int64(i), nil
			}
		}
	}
	return size, nil
}

// fillGaps adds lost blocks for the gaps.
func (s *Reader) fillGaps(count int) {
	found := s.blocks
	s.blocks = nil
	gap := func(to int) {
		if at := s.nextPosition(); at < to {
			s.blocks = append(s.blocks, blockInfo{off: lostOffset, first: at, count: uint32(to - at), times: anyTimes})
		}
	}
	for _, b := range found {
		gap(b.first)
		s.blocks = append(s.blocks, b)
	}
	gap(count)
	s.trailer.count = s.nextPosition()
}

// Damaged returns the events that are known to be lost, without reading any.
func (s *Reader) Damaged() []storage.Range {
	var out []storage.Range
	for i := range s.blocks {
		if b := &s.blocks[i]; b.off == lostOffset {
			out = append(out, storage.Range{First: s.Seq(b.first), Last: s.Seq(b.next() - 1)})
		}
	}
	return out
}

// Verify reads the whole segment including bodies, and returns the events that
// cannot be read. An error is one that stopped it.
func (s *Reader) Verify(ctx context.Context) ([]storage.Range, error) {
	var out []storage.Range
	c := s.borrow()
	defer c.putBack()
	for i := range s.blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for pos := s.blocks[i].first; pos < s.blocks[i].next(); pos++ {
			_, err := c.Get(pos)
			switch {
			case err == nil:
				continue
			case !isDamage(err):
				return nil, err
			}
			seq := s.Seq(pos)
			if n := len(out); n > 0 && out[n-1].Last == seq-1 {
				out[n-1].Last = seq
			} else {
				out = append(out, storage.Range{First: seq, Last: seq})
			}
		}
	}
	return out, nil
}
