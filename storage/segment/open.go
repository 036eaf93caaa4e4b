package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// Open opens the log in a directory, or creates it. It repairs what a crash
// left: it cuts an incomplete batch, writes the last valid batch again, and
// deletes incomplete files. Damage is reported (see Damaged) and skipped;
// damaged data is not deleted.
func Open(fsys disk.FS, dir string, opt Options) (*Log, error) {
	opt = opt.withDefaults()
	l := &Log{fs: fsys, dir: dir, opt: opt, logger: opt.Logger, largeWrites: make(chan struct{}, maxLargeWrites)}
	l.pool = newFilePool(fsys, l.opt.Files)
	l.files = newCache(readFooter)
	l.indexes = newCache(readTerms)
	l.work.ctx, l.work.cancel = context.WithCancel(context.Background())
	l.work.start(l)
	if err := l.open(); err != nil {
		l.work.cancel()
		return nil, fmt.Errorf("open the log in %s: %w", dir, err)
	}
	switch {
	case opt.idle:
	case opt.inline:
		l.runInline()
	default:
		l.work.done.Add(1)
		go l.work.run(l)
	}
	return l, nil
}

func (l *Log) open() error {
	if err := l.fs.MkdirAll(l.path(largeDir)); err != nil {
		return err
	}
	found, indexed, err := l.list()
	if err != nil {
		return err
	}
	o := opening{l: l, indexed: indexed}
	defer func() { o.release() }()
	for _, name := range found {
		if err := o.inspect(name); err != nil {
			return err
		}
	}
	if err := l.loadManifest(&o); err != nil {
		return err
	}
	if err := o.build(); err != nil {
		return err
	}
	if err := l.resume(&o); err != nil {
		return err
	}
	o.hasManifest = true
	if l.opt.keepOrphans {
		return nil
	}
	return l.removeOrphans()
}

// list returns the bases of all segments in ascending order, and those that
// have a term table. It deletes incomplete files.
func (l *Log) list() (bases []uint64, indexed map[uint64]bool, err error) {
	entries, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return nil, nil, err
	}
	indexed = make(map[uint64]bool)
	for _, e := range entries {
		stem, ext, _ := strings.Cut(e.Name, ".")
		base, err := strconv.ParseUint(stem, 10, 64)
		switch {
		case strings.HasSuffix(e.Name, tmpExt):
			if err := l.fs.Remove(l.path(e.Name)); err != nil {
				return nil, nil, err
			}
		case err == nil && base > 0 && base <= maxBase && fileName(base, "."+ext) == e.Name && ("."+ext == logExt || "."+ext == segExt):
			bases = append(bases, base)
		case err == nil && fileName(base, idxExt) == e.Name:
			indexed[base] = true
		}
	}
	slices.Sort(bases)
	return slices.Compact(bases), indexed, nil
}

// opening is a log that is being opened.
type opening struct {
	l     *Log
	files []segmentFile
	segs  []*segment
	// indexed are the segments that have a term table.
	indexed map[uint64]bool
	// last and sum identify the last batch with events.
	last uint64
	sum  uint32
	// newest is the result of scanning the newest file; nil if it is sealed.
	newest      *scanned
	damaged     bool
	hasManifest bool
}

// segmentFile is a segment as described by its header. If u and s are nil, the
// header is damaged.
type segmentFile struct {
	base, pred uint64
	sum        uint32
	seed       index.Seed
	u          *unsealed
	s          *sealedFile
	err        error
}

func (o *opening) release() {
	if o.hasManifest {
		return
	}
	for _, f := range o.files {
		if f.u != nil {
			f.u.close()
		}
	}
}

// inspect reads the headers of a segment's files. A complete sealed file
// replaces the unsealed file that it was made from.
func (o *opening) inspect(base uint64) error {
	l := o.l
	f := segmentFile{base: base}
	raw, err := l.fs.Open(l.path(fileName(base, logExt)))
	hasLog := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s, sealedErr := l.findSealed(base)
	switch {
	case sealedErr == nil:
		if hasLog {
			_ = raw.Close()
			if err := l.fs.Remove(l.path(fileName(base, logExt))); err != nil {
				return err
			}
		}
		f.s, f.pred, f.sum, f.seed = s, s.info.PrevLast, s.info.PrevSum, s.info.Seed
	case hasLog:
		head := make([]byte, fileDataStart)
		w := fileWindow{f: raw}
		if w.size, err = raw.Size(); err == nil {
			head = w.at(0, fileDataStart)
		}
		if err != nil {
			_ = raw.Close()
			return err
		}
		h, err := parseFileHead(head)
		if err == nil && h.base != base {
			err = fmt.Errorf("%w: the header is of segment %d", errFormat, h.base)
		}
		if err != nil {
			_ = raw.Close()
			f.err = fmt.Errorf("%s: %w", fileName(base, logExt), err)
			break
		}
		f.u = newUnsealed(raw, l.path(fileName(base, logExt)), h, l.report)
		f.pred, f.sum, f.seed = h.predLast, h.predSum, h.seed
	case errors.Is(sealedErr, storage.ErrDamaged):
		f.err = sealedErr
	default:
		return sealedErr
	}
	o.files = append(o.files, f)
	return nil
}

// loadManifest reads the floor file. A log without one is new or has lost it;
// then the segments provide what they know.
func (l *Log) loadManifest(o *opening) error {
	b, err := readFile(l.fs, l.path(floorName))
	var m manifest
	if err == nil {
		m, err = parseManifest(b)
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && len(o.files) == 0:
		m = manifest{seed: index.Seed(randomUint64()), floor: 1}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errFormat), errors.Is(err, io.ErrUnexpectedEOF):
		m = manifest{seed: index.Seed(randomUint64()), floor: 1}
		if len(o.files) > 0 {
			m.floor = o.files[0].base
		}
		for _, f := range o.files {
			if f.seed != 0 {
				m.seed = f.seed
			}
		}
		l.logger.Error("the log's floor is lost: events that were dropped lately may show again", zap.Uint64("floor", m.floor), zap.Error(err))
	default:
		return err
	}
	stored := err == nil
	for _, f := range o.files {
		if f.err == nil && f.base > f.pred+1 && m.skip(storage.Range{First: f.pred + 1, Last: f.base - 1}) {
			stored = false // A crash came after the jump and before the manifest was stored.
		}
	}
	l.seed = m.seed
	if stored {
		l.manifest = m
		l.skipped.Store(&m.skipped)
		l.floor.Store(m.floor)
		return nil
	}
	return l.storeManifest(m)
}

// build reads the segments, oldest first, and reports what is missing.
func (o *opening) build() error {
	l := o.l
	o.last = 0
	for i, f := range o.files {
		end := unknownEnd
		if i+1 < len(o.files) {
			next := o.files[i+1]
			if end = next.pred; next.err != nil {
				end = next.base - 1
			}
		}
		if f.err != nil {
			o.addLost(f.base, min(end, f.base+maxEvents-1), f.err)
			continue
		}
		if f.pred > o.last && f.pred >= l.floor.Load() {
			o.addLost(max(o.last+1, l.floor.Load()), f.pred, fmt.Errorf("%w: the segment before %d is missing", errFormat, f.base))
		}
		o.last = max(o.last, f.pred)
		if err := o.add(f, end); err != nil {
			return err
		}
	}
	return nil
}

func (o *opening) add(f segmentFile, end uint64) error {
	seg := &segment{base: f.base, pred: f.pred}
	if f.s != nil {
		seg.content = f.s
		for _, r := range f.s.knownLost {
			o.damaged = true
			o.l.report(&storage.DamageError{Range: r, Where: f.s.path, Err: errFormat})
		}
		if !o.indexed[f.base] && !o.l.opt.idle {
			_ = o.l.work.rebuild(f.s) // Queue the rebuild before the first query.
		}
		o.segs = append(o.segs, seg)
		o.last, o.sum, o.newest = max(o.last, seg.end()-1), f.s.info.Sum, nil
		return nil
	}
	s, err := scanUnsealed(f.u, end)
	if err != nil {
		return fmt.Errorf("%s: %w", f.u.path, err)
	}
	for i := range s.damaged {
		o.damaged = true
		o.l.report(&s.damaged[i])
	}
	if end != unknownEnd && s.next == f.base {
		// A crash came after the next segment was created and before this one was
		// ended.
		f.u.close()
		return o.l.fs.Remove(f.u.path)
	}
	seg.content = f.u
	seg.failed.Store(f.u.damaged) // A damaged file is not sealed, so that nothing more of it is lost.
	o.segs = append(o.segs, seg)
	o.newest = s
	if s.next > f.base {
		o.last, o.sum = s.next-1, s.dataSum
	} else {
		o.sum = f.u.head.predSum
	}
	return nil
}

// addLost adds a placeholder for events that cannot be read.
func (o *opening) addLost(first, last uint64, err error) {
	o.damaged = true
	if first > last {
		return
	}
	d := storage.DamageError{Range: storage.Range{First: first, Last: last}, Where: o.l.path(fileName(first, segExt)), Err: err}
	o.l.report(&d)
	seg := &segment{base: first, pred: first - 1, content: &lost{err: d}}
	seg.failed.Store(true)
	o.segs = append(o.segs, seg)
	o.last, o.sum, o.newest = last, 0, nil
}
