package sealed

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Cursor reads events of a segment. It keeps the current block, so that reading
// events in order decompresses each block once. It is for one goroutine. The
// caller owns what it returns.
type Cursor struct {
	s *Reader
	// block is the number of the current block, or -1. err is the error with
	// which it could not be read.
	block int
	err   error

	header blockHeader
	ends   []uint32 // Pairs: the ends of an event's meta and body.
	metas  []byte
	bodies []byte // nil until they are needed.

	// Reused buffers: as read, and decompressed.
	rawMetas, rawBodies, outMetas, outBodies []byte
}

// Cursor returns a new cursor.
func (s *Reader) Cursor() *Cursor { return &Cursor{s: s, block: -1} }

// Event returns the event at a position without its body. If it cannot be read,
// the error is a storage.DamageError with all events that cannot be read for
// the same reason.
func (c *Cursor) Event(pos int) (*event.Event, error) {
	e := new(event.Event)
	if err := c.decode(pos, e); err != nil {
		return nil, err
	}
	return e, nil
}

func (c *Cursor) decode(pos int, e *event.Event) error {
	if err := c.seek(pos); err != nil {
		return err
	}
	i := pos - c.header.first
	start := uint32(0)
	if i > 0 {
		start = c.ends[2*i-2]
	}
	rest, err := e.DecodeBinary(c.metas[start:c.ends[2*i]])
	if err == nil && len(rest) > 0 {
		err = event.ErrCorrupt
	}
	if err != nil {
		return c.s.damage(pos, pos+1, damaged("%v", err))
	}
	e.Seq = c.s.Seq(pos)
	return nil
}

// Body returns the body of the event at a position, or nil if it has its own
// file. It is verified with the event's digest.
func (c *Cursor) Body(pos int) ([]byte, error) {
	e, err := c.Get(pos)
	if err != nil {
		return nil, err
	}
	return e.Body, nil
}

// Get returns the event at a position with its body. The body is nil if it has
// its own file: see event.Event.BodyRef.
func (c *Cursor) Get(pos int) (*event.Event, error) {
	e, err := c.Event(pos)
	if err != nil || e.BodyRef != "" {
		return e, err
	}
	if err := c.loadBodies(); err != nil {
		return nil, c.s.damage(c.header.first, c.header.next(), err)
	}
	i := pos - c.header.first
	start := uint32(0)
	if i > 0 {
		start = c.ends[2*i-1]
	}
	body := c.bodies[start:c.ends[2*i+1]]
	if len(body) != e.Size || sha256.Sum256(body) != e.BodyDigest {
		return nil, c.s.damage(pos, pos+1, damaged("body is not that of the event"))
	}
	e.Body = append(make([]byte, 0, len(body)), body...)
	return e, nil
}

// Scan calls fn with the events in [from, to), without bodies, until fn returns
// false. If events cannot be read, it returns a storage.DamageError after it
// has called fn with the events before them.
func (c *Cursor) Scan(from, to int, fn func(*event.Event) bool) error {
	for pos := max(0, from); pos < min(to, c.s.info.Count); pos++ {
		e, err := c.Event(pos)
		if err != nil {
			return err
		}
		if !fn(e) {
			return nil
		}
	}
	return nil
}

// seek makes the block of a position the current one.
func (c *Cursor) seek(pos int) error {
	if c.block < 0 || pos < c.header.first || pos >= c.header.next() {
		if pos < 0 || pos >= c.s.info.Count {
			return fmt.Errorf("%w: position %d of %d events", storage.ErrNotFound, pos, c.s.info.Count)
		}
		c.block = c.s.block(pos)
		c.header.blockInfo = c.s.blocks[c.block]
		if c.err = c.load(); c.err != nil && !isDamage(c.err) {
			c.block = -1 // The block may be readable later.
			return c.err
		}
	}
	if c.err != nil {
		return c.s.damage(c.header.first, c.header.next(), c.err)
	}
	return nil
}

// load reads the header of the block and its metas with one read.
func (c *Cursor) load() error {
	at := c.header.blockInfo
	c.bodies = nil
	if at.off == lostOffset {
		return damaged("block is gone")
	}
	size := blockHeaderSize + int(at.metasPacked)
	c.rawMetas = grow(c.rawMetas[:0], size)[:size]
	if err := readAt(c.s.r, c.rawMetas, at.off); err != nil {
		return err
	}
	h := blockHeader{}
	if err := h.parse(c.rawMetas, c.s.info.Salt, at.off); err != nil {
		return err
	}
	if h.blockInfo != at {
		return damaged("block at %d is not the one of the footer", at.off)
	}
	c.header = h
	raw, err := h.metas.unpack(c.outMetas, c.rawMetas[blockHeaderSize:], c.s.info.Salt, at.off+blockHeaderSize)
	if err != nil {
		return err
	}
	if h.metas.packing != packedPlain {
		c.outMetas = raw
	}
	return c.parseLengths(raw)
}

func (c *Cursor) parseLengths(raw []byte) error {
	n := int(c.header.count)
	if cap(c.ends) < 2*n {
		c.ends = make([]uint32, 2*blockEvents)
	}
	c.ends = c.ends[:2*n]
	limits := [2]uint64{uint64(c.header.metas.size), uint64(c.header.bodies.size)}
	var sums [2]uint64
	for column := range 2 {
		for i := range n {
			length, w := binary.Uvarint(raw)
			if w <= 0 || length > limits[column]-sums[column] {
				return damaged("lengths of the block at %d", c.header.off)
			}
			sums[column] += length
			c.ends[2*i+column] = uint32(sums[column])
			raw = raw[w:]
		}
	}
	if sums[0] != uint64(len(raw)) || sums[1] != limits[1] {
		return damaged("lengths of the block at %d", c.header.off)
	}
	c.metas = raw
	return nil
}

// loadBodies reads the bodies of the current block.
func (c *Cursor) loadBodies() error {
	if c.bodies != nil {
		return nil
	}
	size := int(c.header.bodies.packed)
	off := c.header.off + blockHeaderSize + int64(c.header.metas.packed)
	c.rawBodies = grow(c.rawBodies[:0], max(size, 1))[:size]
	if err := readAt(c.s.r, c.rawBodies, off); err != nil {
		return err
	}
	out, err := c.header.bodies.unpack(c.outBodies, c.rawBodies, c.s.info.Salt, off)
	if err != nil {
		return err
	}
	if c.header.bodies.packing != packedPlain {
		c.outBodies = out
	}
	c.bodies = out
	return nil
}

// cursors keeps cursors with their buffers for single reads. Very large buffers
// are not kept.
var cursors = sync.Pool{New: func() any { return new(Cursor) }}

const keepBuffers = 1 << 20

func (s *Reader) borrow() *Cursor {
	c := cursors.Get().(*Cursor)
	c.s, c.block, c.err, c.metas, c.bodies = s, -1, nil, nil, nil
	return c
}

func (c *Cursor) putBack() {
	c.s = nil
	if cap(c.rawMetas)+cap(c.rawBodies)+cap(c.outMetas)+cap(c.outBodies) <= keepBuffers {
		cursors.Put(c)
	}
}

// Event is Cursor.Event for a single event.
func (s *Reader) Event(pos int) (*event.Event, error) {
	c := s.borrow()
	defer c.putBack()
	return c.Event(pos)
}

// Get is Cursor.Get for a single event.
func (s *Reader) Get(pos int) (*event.Event, error) {
	c := s.borrow()
	defer c.putBack()
	return c.Get(pos)
}

// Body is Cursor.Body for a single event.
func (s *Reader) Body(pos int) ([]byte, error) {
	c := s.borrow()
	defer c.putBack()
	return c.Body(pos)
}

// Scan is Cursor.Scan.
func (s *Reader) Scan(from, to int, fn func(*event.Event) bool) error {
	c := s.borrow()
	defer c.putBack()
	return c.Scan(from, to, fn)
}
