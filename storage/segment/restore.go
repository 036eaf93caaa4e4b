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
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

// ErrStream is returned for a stream that Export did not write, or that is
// incomplete.
var ErrStream = errFormat

// Importer creates a log from streams of Export: a full one, and then those
// that continue it. It verifies everything. After an error the directory holds
// part of a log and should be deleted.
type Importer struct {
	fs  disk.FS
	dir string
	// l is open while batches are read, and nil before and while sealed files are
	// read.
	l        *Log
	head     uint64
	manifest manifest
	started  bool
	// largeBodies are the bodies that were read, by name. missing are the events
	// whose body was not.
	largeBodies map[string]event.Digest
	missing     []uint64
	count       uint64
}

// NewImporter returns an importer that creates a log in an empty directory. It
// returns fs.ErrExist if there is a log.
func NewImporter(fsys disk.FS, dir string) (*Importer, error) {
	im := &Importer{fs: fsys, dir: dir, largeBodies: make(map[string]event.Digest)}
	if err := fsys.MkdirAll(im.path(largeDir)); err != nil {
		return nil, err
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("import into %s: %w", dir, fs.ErrExist)
	}
	return im, nil
}

func (im *Importer) path(name string) string {
	l := Log{dir: im.dir}
	return l.path(name)
}

// Read reads one stream, and no byte beyond its end. It returns the last
// sequence number of the log that was exported. ErrBackupPosition means that
// the stream does not continue the one before it.
func (im *Importer) Read(ctx context.Context, r io.Reader) (head uint64, err error) {
	if err := im.read(ctx, &frameReader{r: r}); err != nil {
		return 0, fmt.Errorf("import the log: %w", err)
	}
	return im.head, nil
}

func (im *Importer) read(ctx context.Context, r *frameReader) error {
	kind, b, err := r.next()
	if err != nil {
		return err
	}
	if kind != frameManifest {
		return fmt.Errorf("%w: a frame of kind %d begins it", errFormat, kind)
	}
	head, err := im.begin(b)
	if err != nil {
		return err
	}
	im.count = 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		kind, b, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case kind == frameLarge && len(b) == largeNameLen+8:
			err = im.large(string(b[:largeNameLen]), binary.LittleEndian.Uint64(b[largeNameLen:]), r)
		case kind == frameSegment && len(b) == 16:
			err = im.segment(ctx, binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), r)
		case kind == frameBatch && len(b) == 28:
			err = im.batch(b, r)
		case kind == frameManifest && len(b) > 16:
			err = im.updateManifest(b[16:])
		case kind == frameEnd && len(b) == 16:
			return im.end(head, binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
		default:
			err = fmt.Errorf("%w: a frame of kind %d, %d bytes", errFormat, kind, len(b))
		}
		if err != nil {
			return err
		}
	}
}

// begin reads the manifest at the start of a stream and returns the head that
// the stream leads to.
func (im *Importer) begin(b []byte) (head uint64, err error) {
	if len(b) < 16 {
		return 0, fmt.Errorf("%w: marks of %d bytes", errFormat, len(b))
	}
	after, head := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	m, err := parseManifest(b[16:])
	if err != nil {
		return 0, err
	}
	switch {
	case after != im.head, im.started && m.seed != im.manifest.seed:
		return 0, fmt.Errorf("%w: it goes on from event %d of a log, here %d is the last", storage.ErrBackupPosition, after, im.head)
	case head < after:
		return 0, fmt.Errorf("%w: from %d to %d", errFormat, after, head)
	}
	im.started = true
	return head, im.updateManifest(b[16:])
}

// updateManifest sets the floor to that of the stream.
func (im *Importer) updateManifest(b []byte) error {
	m, err := parseManifest(b)
	if err != nil {
		return err
	}
	m.floor = max(m.floor, im.manifest.floor)
	for _, r := range im.manifest.skipped {
		m.skip(r)
	}
	if err := im.closeLog(); err != nil {
		return err
	}
	im.manifest = m
	return disk.WriteFile(im.fs, im.path(floorName), m.encode())
}

// closeLog closes the file that batches were written to.
func (im *Importer) closeLog() error {
	if im.l == nil {
		return nil
	}
	err := im.l.Close()
	im.l = nil
	return err
}

func (im *Importer) large(name string, size uint64, r *frameReader) error {
	if !isLargeName(name) {
		return fmt.Errorf("%w: name %q", errFormat, name)
	}
	l := Log{dir: im.dir}
	f, err := disk.Recreate(im.fs, l.largePath(name))
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err = im.copy(f, size, r, sum); err == nil {
		im.largeBodies[name] = event.Digest(sum.Sum(nil))
	}
	return errors.Join(err, f.Close())
}

// copy writes data into a file and syncs it.
func (im *Importer) copy(f disk.File, size uint64, r *frameReader, sum io.Writer) error {
	off := int64(0)
	err := r.data(size, func(b []byte) error {
		_, _ = sum.Write(b)
		_, err := f.WriteAt(b, off)
		off += int64(len(b))
		return err
	})
	if err != nil {
		return err
	}
	return f.Sync()
}

// checkLarge compares an event's large body with the one that was read under
// its name.
func (im *Importer) checkLarge(e *event.Event) error {
	if e.BodyRef == "" {
		return nil
	}
	switch sum, ok := im.largeBodies[e.BodyRef]; {
	case !ok:
		im.missing = append(im.missing, e.Seq)
	case sum != e.BodyDigest:
		return fmt.Errorf("%w: digest of the body of event %d", errFormat, e.Seq)
	}
	return nil
}

func (im *Importer) segment(ctx context.Context, base, size uint64, r *frameReader) error {
	if base <= im.head {
		return fmt.Errorf("%w: segment %d after event %d", errFormat, base, im.head)
	}
	if err := im.closeLog(); err != nil {
		return err
	}
	path := im.path(fileName(base, segExt))
	f, err := disk.Recreate(im.fs, path+tmpExt)
	if err != nil {
		return err
	}
	if err = im.copy(f, size, r, io.Discard); err == nil {
		err = im.check(ctx, base, f, int64(size))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("segment %d: %w", base, err)
	}
	if err := im.fs.Rename(path+tmpExt, path); err != nil {
		return err
	}
	return im.fs.SyncDir(im.dir)
}

// check verifies that a sealed file is complete and follows the other segments.
func (im *Importer) check(ctx context.Context, base uint64, f disk.File, size int64) error {
	s, err := sealed.Open(f, size)
	if err != nil {
		return err
	}
	info := s.Info()
	if info.Base != base || info.Seed != im.manifest.seed {
		return fmt.Errorf("%w: it is of segment %d, of another log", errFormat, info.Base)
	}
	bad, err := s.Verify(ctx)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("%w: events %d to %d", storage.ErrDamaged, bad[0].First, bad[0].Last)
	}
	names, err := s.BodyRefs()
	if err != nil {
		return err
	}
	c := s.Cursor()
	for pos := 0; pos < info.Count && len(names) > 0; pos++ {
		e, err := c.Event(pos)
		if err == nil {
			err = im.checkLarge(e)
		}
		if err != nil {
			return err
		}
	}
	im.head = info.Last()
	im.count += uint64(info.Count)
	return nil
}

func (im *Importer) batch(b []byte, r *frameReader) error {
	pred, first := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	count, size := binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint64(b[20:])
	if count == 0 || count > maxEvents || size > 2*maxBatchPart || first <= im.head || pred >= first {
		return fmt.Errorf("%w: %d events from %d on in %d bytes after %d", errFormat, count, first, size, im.head)
	}
	var raw []byte
	if err := r.data(size, func(b []byte) error { raw = append(raw, b...); return nil }); err != nil {
		return err
	}
	events := make([]*event.Event, 0, count)
	for i := range count {
		if len(raw) < entryHeadLen {
			return fmt.Errorf("%w: a batch ends early", errFormat)
		}
		n, body := uint64(binary.LittleEndian.Uint32(raw)), uint64(binary.LittleEndian.Uint32(raw[4:]))
		if raw = raw[entryHeadLen:]; n+body > uint64(len(raw)) {
			return fmt.Errorf("%w: a batch ends early", errFormat)
		}
		e, err := decodeMeta(raw[:n], first+uint64(i))
		if err != nil {
			return err
		}
		if e.BodyRef == "" {
			e.Body = raw[n : n+body : n+body]
			err = checkBody(e, e.Body)
		} else {
			err = im.checkLarge(e)
		}
		if err != nil {
			return err
		}
		events, raw = append(events, e), raw[n+body:]
	}
	if len(raw) > 0 {
		return fmt.Errorf("%w: %d bytes behind a batch", errFormat, len(raw))
	}
	return im.append(pred, events)
}

// append writes a batch. If it leaves a gap, the gap begins after pred.
func (im *Importer) append(pred uint64, events []*event.Event) error {
	if im.l == nil {
		l, err := Open(im.fs, im.dir, Options{keepOrphans: true, idle: true})
		if err != nil {
			return err
		}
		im.l = l
	}
	if im.l.Next() != events[0].Seq {
		im.l.last.Store(max(pred, im.l.Last()))
	}
	if err := im.l.Append(events); err != nil {
		return err
	}
	im.head = events[len(events)-1].Seq
	im.count += uint64(len(events))
	return nil
}

// end compares the counts with those at the end of the stream.
func (im *Importer) end(head, last, count uint64) error {
	if last != head || count != im.count || im.head > head {
		return fmt.Errorf("%w: %d events up to %d, %d up to %d were announced", errFormat, im.count, im.head, count, head)
	}
	for _, seq := range im.missing {
		if seq >= im.manifest.floor {
			return fmt.Errorf("%w: the body of event %d is missing", errFormat, seq)
		}
	}
	im.missing = nil
	im.head = head
	return im.fs.SyncDir(im.path(largeDir))
}

// Close closes the log, so that Open can open it.
func (im *Importer) Close() error { return im.closeLog() }
