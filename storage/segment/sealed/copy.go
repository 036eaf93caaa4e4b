package sealed

import (
	"context"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
)

// Copy writes the whole file to w block by block, and verifies each block
// before. It stops with a storage.DamageError at the first damaged block. A
// file without a footer is not copied.
func (s *Reader) Copy(ctx context.Context, w io.Writer) error {
	if s.lost {
		return s.damage(0, max(1, s.info.Count), damaged("footer is lost"))
	}
	buf := make([]byte, headerSize)
	if err := readAt(s.r, buf, 0); err != nil {
		return s.damage(0, max(1, s.info.Count), err)
	}
	var h Header
	if err := h.parse(buf); err != nil || h != s.info.Header {
		return s.damage(0, max(1, s.info.Count), damaged("header is not that of the footer"))
	}
	if _, err := w.Write(buf); err != nil {
		return err
	}
	for i := range s.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := &s.blocks[i]
		buf = grow(buf[:0], int(b.end()-b.off))[:b.end()-b.off]
		if err := s.check(b, buf); err != nil {
			return s.damage(b.first, b.next(), err)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	// The rest was verified when the file was opened, or can be rebuilt.
	rest := io.NewSectionReader(s.r, s.trailer.table, s.info.Size-s.trailer.table)
	if n, err := io.Copy(w, rest); err != nil || n != rest.Size() {
		return fmt.Errorf("copy footer: %d of %d bytes: %w", n, rest.Size(), orShort(err))
	}
	return nil
}

func orShort(err error) error {
	if err == nil {
		return storage.ErrDamaged
	}
	return err
}

// check reads a whole block and verifies its checksums.
func (s *Reader) check(b *blockInfo, buf []byte) error {
	if err := readAt(s.r, buf, b.off); err != nil {
		return err
	}
	var h blockHeader
	if err := h.parse(buf[:blockHeaderSize], s.info.Salt, b.off); err != nil {
		return err
	}
	if h.blockInfo != *b {
		return damaged("block at %d is not the one of the footer", b.off)
	}
	metas := buf[blockHeaderSize:][:h.metas.packed]
	bodies := buf[blockHeaderSize+len(metas):]
	if checksum.Salted(s.info.Salt, uint64(b.off+blockHeaderSize), metas) != h.metas.sum ||
		checksum.Salted(s.info.Salt, uint64(b.off+blockHeaderSize)+uint64(len(metas)), bodies) != h.bodies.sum {
		return damaged("checksum of the block at %d", b.off)
	}
	return nil
}
