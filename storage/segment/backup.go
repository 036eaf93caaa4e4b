package segment

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

// exportBatchBytes is the size in bytes of a batch of events that is exported
// from a sealed segment.
const exportBatchBytes = 1 << 20

// Export writes all events after `after` up to the current last one, with the
// floor and the skipped ranges, and returns the number of the last one. An
// Importer reads the stream. Whole sealed segments are copied as they are.
// Everything is verified before it is written. If something cannot be read, the
// error is a DamageError and the stream is not a backup.
func (l *Log) Export(ctx context.Context, w io.Writer, after uint64) (head uint64, err error) {
	if l.closed.Load() {
		return 0, storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	x := &exporter{ctx: ctx, v: v, l: l, w: frameWriter{w: w}, after: after}
	if err := x.run(); err != nil {
		return 0, fmt.Errorf("export the log: %w", err)
	}
	return v.Last, nil
}

type exporter struct {
	ctx   context.Context
	l     *Log
	v     *View
	w     frameWriter
	after uint64
	count uint64
}

func (x *exporter) run() error {
	if err := x.writeManifest(); err != nil {
		return err
	}
	for _, seg := range x.v.v.segs {
		if seg.end() <= max(x.after+1, x.v.Floor) || seg.base > x.v.Last {
			continue
		}
		if err := x.exportSegment(seg); err != nil {
			return err
		}
	}
	if err := x.writeManifest(); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint64(nil, x.v.Last)
	return x.w.frame(frameEnd, binary.LittleEndian.AppendUint64(end, x.count))
}

func (x *exporter) writeManifest() error {
	x.l.manifestMu.Lock()
	m := x.l.manifest
	x.l.manifestMu.Unlock()
	b := binary.LittleEndian.AppendUint64(nil, x.after)
	b = binary.LittleEndian.AppendUint64(b, x.v.Last)
	return x.w.frame(frameManifest, append(b, m.encode()...))
}

func (x *exporter) exportSegment(seg *segment) error {
	switch c := seg.content.(type) {
	case *unsealed:
		return x.exportUnsealed(seg, c)
	case *sealedFile:
		return x.exportSealed(seg, c)
	case *lost:
		return &c.err
	}
	return nil
}

// exportUnsealed writes the batches of an unsealed segment.
func (x *exporter) exportUnsealed(seg *segment, u *unsealed) error {
	r := &records{u: u, ctx: x.ctx}
	for {
		err := r.load()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch := r.out
		for len(batch) > 0 && batch[0].Event.Seq <= x.after {
			batch = batch[1:]
		}
		if len(batch) == 0 {
			continue
		}
		if batch[0].Event.Seq > x.v.Last {
			return nil
		}
		if err := x.exportBatch(seg, batch); err != nil {
			return err
		}
	}
}

// exportBatch writes some events, after the large bodies that they refer to.
func (x *exporter) exportBatch(seg *segment, exportBatch []sealed.Record) error {
	first := exportBatch[0].Event.Seq
	pred := first - 1
	if first == seg.base {
		pred = seg.pred
	}
	size := int64(0)
	for _, r := range exportBatch {
		if err := x.exportLarge(r.Event); err != nil {
			return err
		}
		size += entryHeadLen + int64(len(r.Meta)) + int64(len(r.Body))
	}
	b := binary.LittleEndian.AppendUint64(nil, pred)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(exportBatch)))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	if err := x.w.begin(frameBatch, b, size); err != nil {
		return err
	}
	for _, r := range exportBatch {
		b = binary.LittleEndian.AppendUint32(b[:0], uint32(len(r.Meta)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Body)))
		for _, part := range [][]byte{b, r.Meta, r.Body} {
			if _, err := x.w.Write(part); err != nil {
				return err
			}
		}
	}
	x.count += uint64(len(exportBatch))
	return nil
}

// exportSealed copies a sealed file, or its events after `after`. It opens the
// file itself, so that the file stays readable if it is deleted meanwhile.
func (x *exporter) exportSealed(seg *segment, s *sealedFile) error {
	f, err := x.l.fs.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.lostErr(err); errors.Is(err, storage.ErrNotFound) {
			return nil // The segment was deleted. The floor at the end of the stream says so.
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	r, err := sealed.Open(f, size)
	if err != nil {
		return s.whole(err)
	}
	if seg.base <= x.after {
		return x.exportSealedFrom(seg, r)
	}
	names, err := r.BodyRefs()
	if err != nil {
		return s.whole(err)
	}
	if len(names) > 0 {
		c := r.Cursor()
		for pos := range s.info.Count {
			e, err := c.Event(pos)
			if err == nil {
				err = x.exportLarge(e)
			}
			if err != nil {
				return s.toError(err)
			}
		}
	}
	b := binary.LittleEndian.AppendUint64(nil, seg.base)
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	if err := x.w.begin(frameSegment, b, size); err != nil {
		return err
	}
	x.count += uint64(s.info.Count)
	return s.toError(r.Copy(x.ctx, &x.w))
}

// whole returns a DamageError for all events of the segment.
func (s *sealedFile) whole(err error) error {
	if !errors.Is(err, storage.ErrDamaged) {
		return err
	}
	return &storage.DamageError{Range: storage.Range{First: s.info.Base, Last: s.info.Last()}, Where: s.path, Err: err}
}

// exportSealedFrom writes the events of a sealed segment that come after
// `after`.
func (x *exporter) exportSealedFrom(seg *segment, r *sealed.Reader) error {
	c := r.Cursor()
	var batch []sealed.Record
	size := 0
	for pos := int(x.after + 1 - seg.base); pos < r.Info().Count; pos++ {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		e, err := c.Get(pos)
		if err != nil {
			return err
		}
		batch = append(batch, sealed.Record{Meta: e.AppendBinary(nil), Body: e.Body, Event: e})
		if size += e.Size; size >= exportBatchBytes || len(batch) == 256 || pos == r.Info().Count-1 {
			if err := x.exportBatch(seg, batch); err != nil {
				return err
			}
			batch, size = batch[:0], 0
		}
	}
	return nil
}

// exportLarge writes a body that has its own file.
func (x *exporter) exportLarge(e *event.Event) error {
	if e.BodyRef == "" {
		return nil
	}
	damage := func(err error) error {
		d := &storage.DamageError{Range: storage.Range{First: e.Seq, Last: e.Seq}, Where: x.l.largePath(e.BodyRef), Err: err}
		x.l.report(d)
		return d
	}
	if !isLargeName(e.BodyRef) {
		return damage(fmt.Errorf("%w: name %q", errFormat, e.BodyRef))
	}
	f, err := x.l.fs.Open(x.l.largePath(e.BodyRef))
	if errors.Is(err, fs.ErrNotExist) {
		if e.Seq < x.l.floor.Load() {
			return nil // The body was deleted. The floor at the end of the stream says so.
		}
		return damage(err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint64([]byte(e.BodyRef), uint64(size))
	if err := x.w.begin(frameLarge, b, size); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(&x.w, sum), io.NewSectionReader(f, 0, size))
	if err != nil && !isUnreadable(err) {
		return err
	}
	if n != size || event.Digest(sum.Sum(nil)) != e.BodyDigest {
		return damage(fmt.Errorf("%w: digest of the body of event %d", errFormat, e.Seq))
	}
	return nil
}
