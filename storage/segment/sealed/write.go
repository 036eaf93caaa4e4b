package sealed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// A block ends with the event that reaches one of these limits: the number of
// events, or the bytes of metas or of bodies.
const (
	blockEvents = 256
	blockBytes  = 128 << 10
)

// Record is an event in the form that a segment stores.
type Record struct {
	// Meta is the result of event.Event.AppendBinary.
	Meta []byte
	// Body is nil if it has its own file.
	Body []byte
	// Event is the decoded Meta with its sequence number. Its Body is not used.
	Event *event.Event
}

// Write writes the sealed form of a segment into the empty file f and returns
// its description. next returns the records in order and without gaps from
// h.Base on, and io.EOF at the end. It may reuse a record. Write keeps one
// block in memory, and about 30 bytes per event. The caller syncs f.
func Write(f disk.File, h Header, next func() (*Record, error)) (Info, error) {
	w := writer{f: f, h: h, keys: index.NewMemTable()}
	if err := w.run(next); err != nil {
		return Info{}, fmt.Errorf("write sealed segment %d: %w", h.Base, err)
	}
	return w.info, nil
}

type writer struct {
	f    disk.File
	h    Header
	off  int64
	info Info

	// The current block.
	lengths       []uint32
	metas, bodies []byte
	times         times

	blocks []blockInfo
	refs   []string
	keys   *index.MemTable
	count  int
	raw    []byte
	out    []byte
}

func (w *writer) run(next func() (*Record, error)) error {
	if err := w.write(w.h.append(nil)); err != nil {
		return err
	}
	w.times = noTimes
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := w.add(r); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.finish()
}

func (w *writer) write(b []byte) error {
	_, err := w.f.WriteAt(b, w.off)
	w.off += int64(len(b))
	return err
}

func (w *writer) add(r *Record) error {
	switch {
	case w.count == index.MaxPositions:
		return fmt.Errorf("more than %d events", index.MaxPositions)
	case r.Event.Seq != w.h.Base+uint64(w.count):
		return fmt.Errorf("event %d where %d is due", r.Event.Seq, w.h.Base+uint64(w.count))
	case len(r.Meta) > maxSection/2 || len(r.Body) > maxSection/2:
		return fmt.Errorf("event %d is too large", r.Event.Seq)
	}
	// A large event starts a block of its own.
	if len(w.bodies) > 0 && len(w.bodies)+len(r.Body) > 2*blockBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.lengths = append(w.lengths, uint32(len(r.Meta)), uint32(len(r.Body)))
	w.metas = append(w.metas, r.Meta...)
	w.bodies = append(w.bodies, r.Body...)
	received, logged := nanos(r.Event.ReceivedAt), nanos(r.Event.LoggedAt)
	w.times.add(times{span{received, received}, span{logged, logged}})
	w.keys.Add(w.h.Seed.Key(r.Event), uint16(w.count))
	if r.Event.BodyRef != "" {
		w.refs = append(w.refs, r.Event.BodyRef)
	}
	w.count++
	if len(w.lengths) == 2*blockEvents || len(w.bodies) >= blockBytes || len(w.metas) >= blockBytes {
		return w.flush()
	}
	return nil
}

// flush writes the current block.
func (w *writer) flush() error {
	n := len(w.lengths) / 2
	if n == 0 {
		return nil
	}
	w.raw = w.raw[:0]
	for column := range 2 {
		for i := range n {
			w.raw = binary.AppendUvarint(w.raw, uint64(w.lengths[2*i+column]))
		}
	}
	w.raw = append(w.raw, w.metas...)

	h := blockHeader{blockInfo: blockInfo{off: w.off, first: w.count - n, count: uint32(n), times: w.times}}
	w.out = append(w.out[:0], make([]byte, blockHeaderSize)...)
	w.out, h.metas = pack(w.out, w.raw, w.h.Salt, w.off+blockHeaderSize)
	w.out, h.bodies = pack(w.out, w.bodies, w.h.Salt, w.off+int64(len(w.out)))
	h.metasPacked, h.bodiesPacked = h.metas.packed, h.bodies.packed
	h.append(w.out[:0], w.h.Salt)
	w.blocks = append(w.blocks, h.blockInfo)
	w.lengths, w.metas, w.bodies, w.times = w.lengths[:0], w.metas[:0], w.bodies[:0], noTimes
	return w.write(w.out)
}

func (w *writer) finish() error {
	f := trailer{Header: w.h, count: w.count, table: w.off, blocks: len(w.blocks), refs: len(w.refs)}
	b := make([]byte, 0, len(w.blocks)*blockEntrySize)
	for i := range w.blocks {
		b = w.blocks[i].append(b)
	}
	f.tableSum = checksum.Salted(w.h.Salt, uint64(w.off), b)
	if err := w.write(b); err != nil {
		return err
	}
	b = b[:0]
	for _, ref := range w.refs {
		b = append(binary.AppendUvarint(b, uint64(len(ref))), ref...)
	}
	f.refsSize, f.refsSum = int64(len(b)), checksum.Salted(w.h.Salt, uint64(w.off), b)
	if err := w.write(b); err != nil {
		return err
	}
	keys := io.NewOffsetWriter(w.f, w.off)
	var err error
	if f.keysSize, err = w.keys.Write(keys, w.h.Salt); err != nil {
		return err
	}
	w.off += f.keysSize
	if err := w.write(f.append(nil, w.off)); err != nil {
		return err
	}
	w.info = infoOf(&f, w.blocks, w.off)
	return nil
}
