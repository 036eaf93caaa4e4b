package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// partReader reads one part of a backup. Its sections are read in order.
type partReader struct {
	ctx  context.Context
	r    *bufio.Reader
	from Position
	end  Position
	done bool
	size int64 // read so far

	kind byte // The kind of data.
	data []byte
	buf  []byte
}

// openPart reads the header of a part, or returns io.EOF if there is none. The
// first part comes after the zero position.
func openPart(ctx context.Context, r *bufio.Reader, after Position) (*partReader, error) {
	head := make([]byte, partHead)
	n, err := io.ReadFull(r, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && after != (Position{}) {
		return nil, ErrCut
	}
	if err != nil || !bytes.HasPrefix(head, []byte(backupName)) {
		return nil, fmt.Errorf("%w: no backup of this gateway", ErrInvalid)
	}
	if !bytes.HasPrefix(head, []byte(backupMagic)) {
		return nil, fmt.Errorf("%w: written by another version of this gateway, which can restore it", ErrInvalid)
	}
	from := decodePosition(head[len(backupMagic):])
	if after != (Position{}) && from.Store != after.Store {
		return nil, fmt.Errorf("%w: its parts are of several stores", ErrInvalid)
	}
	if from.Seq != after.Seq {
		return nil, fmt.Errorf("%w: a part that begins after event %d follows one that ends with %d", ErrInvalid, from.Seq, after.Seq)
	}
	return &partReader{ctx: ctx, r: r, from: from, size: int64(n)}, nil
}

// section returns the following frames of one kind as a stream.
func (p *partReader) section(kind byte) io.Reader { return &section{p, kind} }

type section struct {
	*partReader
	want byte
}

func (s *section) Read(p []byte) (int, error) {
	for len(s.data) == 0 {
		if s.kind > s.want || s.done {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
		if s.kind < s.want {
			return 0, fmt.Errorf("%w: its sections are out of order", ErrInvalid)
		}
	}
	if s.kind != s.want {
		return 0, io.EOF
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// next reads a frame.
func (p *partReader) next() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	var head [frameHead]byte
	if err := p.readFull(head[:]); err != nil {
		return err
	}
	kind, size, sum := head[0], binary.BigEndian.Uint32(head[1:]), binary.BigEndian.Uint32(head[5:])
	if size == 0 || size > maxFrame || kind < p.kind || kind > frameEnd {
		return fmt.Errorf("%w: damaged", ErrInvalid)
	}
	if cap(p.buf) < int(size) {
		p.buf = make([]byte, max(size, FrameBytes))
	}
	data := p.buf[:size]
	if err := p.readFull(data); err != nil {
		return err
	}
	if frameSum(kind, data) != sum {
		return fmt.Errorf("%w: damaged", ErrInvalid)
	}
	p.kind, p.data = kind, data
	if kind == frameEnd {
		if len(data) != positionSize {
			return fmt.Errorf("%w: damaged", ErrInvalid)
		}
		p.end, p.done, p.data = decodePosition(data), true, nil
	}
	return nil
}

// finish reads the end of the part, which must come next.
func (p *partReader) finish() error {
	if len(p.data) > 0 {
		return fmt.Errorf("%w: more in it than belongs there", ErrInvalid)
	}
	if !p.done {
		if err := p.next(); err != nil {
			return err
		}
	}
	if !p.done || p.end.Store != p.from.Store || p.end.Seq < p.from.Seq {
		return fmt.Errorf("%w: damaged", ErrInvalid)
	}
	return nil
}

func (p *partReader) readFull(b []byte) error {
	n, err := io.ReadFull(p.r, b)
	p.size += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}
