package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

// sealOldest seals the oldest complete segment.
func (l *Log) sealOldest() (bool, error) {
	v := l.View()
	defer v.Close()
	for _, seg := range v.v.segs[:max(0, len(v.v.segs)-1)] {
		u := seg.unsealed()
		if u == nil || seg.failed.Load() {
			continue
		}
		err := l.seal(seg, u)
		if errors.Is(err, storage.ErrDamaged) {
			// The damage was reported. The file stays, because it holds more than
			// could be copied.
			seg.failed.Store(true)
			l.work.sealFinished()
			l.logger.Error("a damaged segment stays unsealed", zap.String("file", u.path), zap.Error(err))
			return true, nil
		}
		if err != nil {
			return false, err
		}
		l.work.sealFinished()
		return true, nil
	}
	return false, nil
}

// seal writes the sealed form of a segment, switches readers to it, and deletes
// the unsealed file. A crash leaves one of the two files, or both.
func (l *Log) seal(seg *segment, u *unsealed) error {
	s := &sealedFile{log: l, path: l.path(fileName(seg.base, segExt)), indexPath: l.path(fileName(seg.base, idxExt))}
	tmp := s.path + tmpExt
	f, err := disk.Recreate(l.fs, tmp)
	if err != nil {
		return err
	}
	src := &records{u: u, ctx: l.background()}
	s.info, err = sealed.Write(f, sealed.Header{
		Base: seg.base, Salt: u.head.salt, Seed: u.head.seed, PrevLast: u.head.predLast, PrevSum: u.head.predSum, Sum: u.lastSum(),
	}, src.next)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, l.fs.Remove(tmp))
	}
	s.expected = s.info.Count
	failpoint.Hit("segment.sealed")
	if err := l.fs.Rename(tmp, s.path); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	failpoint.Hit("segment.renamed")
	if err := l.writeIndex(s, u.termTable); err != nil {
		l.logger.Warn("a term table was not written, and is made anew", zap.Error(err))
	}
	next := &segment{base: seg.base, pred: seg.pred, content: s}
	l.replaceSegments(func(segs []*segment) []*segment {
		for i := range segs {
			if segs[i] == seg {
				segs[i] = next
			}
		}
		return segs
	})
	if err := l.fs.Remove(u.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("the file of a sealed segment stays until the next start", zap.Error(err))
	}
	return nil
}

// records reads a whole unsealed segment batch by batch.
type records struct {
	u     *unsealed
	ctx   context.Context
	batch int
	pos   int

	metas  []byte
	bodies []byte
	out    []sealed.Record
	at     int
}

func (r *records) next() (*sealed.Record, error) {
	for r.at == len(r.out) {
		if err := r.load(); err != nil {
			return nil, err
		}
	}
	r.at++
	return &r.out[r.at-1], nil
}

// load reads and verifies the next batch with its bodies.
func (r *records) load() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	runtime.Gosched() // Let commits run first.
	u := r.u
	u.mu.RLock()
	if r.batch == len(u.batches) {
		u.mu.RUnlock()
		return io.EOF
	}
	b := u.batches[r.batch]
	u.mu.RUnlock()
	if b.pos != r.pos {
		return u.damage(r.pos, b.pos-1, errFormat)
	}
	var err error
	if r.metas, err = u.metas(&b, r.metas); err != nil {
		return err
	}
	if r.bodies, err = u.bodies(&b, r.bodies); err != nil {
		return err
	}
	r.out, r.at = r.out[:0], 0
	rest := r.bodies
	err = entries(r.metas, b.count, func(i int, meta []byte, n uint32) error {
		e, err := decodeMeta(meta, u.head.base+uint64(b.pos+i))
		if err != nil {
			return err
		}
		if uint64(n) > uint64(len(rest)) {
			return errFormat
		}
		r.out = append(r.out, sealed.Record{Meta: meta, Body: rest[:n], Event: e})
		rest = rest[n:]
		return nil
	})
	if err != nil {
		return u.damage(b.pos, b.pos+b.count-1, err)
	}
	r.batch++
	r.pos = b.pos + b.count
	return nil
}

// bodies reads the bodies of a batch into buf.
func (u *unsealed) bodies(b *batchRef, buf []byte) ([]byte, error) {
	if cap(buf) < int(b.bodiesLen) {
		buf = make([]byte, b.bodiesLen)
	}
	buf = buf[:b.bodiesLen]
	if err := disk.ReadFull(u.file, buf, b.off+batchHeadLen+int64(b.metasLen)); err != nil {
		return nil, u.unreadable(b.pos, b.pos+b.count-1, err)
	}
	if u.salt.sum(buf) != b.bodiesSum {
		return nil, u.damage(b.pos, b.pos+b.count-1, fmt.Errorf("%w: checksum of bodies", errFormat))
	}
	return buf, nil
}

// lastSum returns the checksum of the last batch.
func (u *unsealed) lastSum() uint32 {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.batches[len(u.batches)-1].sum
}

// writeIndex writes the term table of a sealed segment. It is not synced,
// because its checksums detect a crash.
func (l *Log) writeIndex(s *sealedFile, m *index.MemTable) error {
	tmp := s.indexPath + tmpExt
	f, err := disk.Recreate(l.fs, tmp)
	if err != nil {
		return err
	}
	err = index.WriteFile(f, m, s.tableHeader())
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, l.fs.Remove(tmp))
	}
	return l.fs.Rename(tmp, s.indexPath)
}

// buildIndex rebuilds the term table from the events.
func (s *sealedFile) buildIndex(ctx context.Context) error {
	var m *index.MemTable
	err := s.withReader(func(r *sealed.Reader) (err error) {
		m, err = sealed.BuildIndex(ctx, r, s.log.seed)
		return err
	})
	if err == nil {
		err = s.log.writeIndex(s, m)
	}
	s.dropTermTable()
	return err
}

// prepareNext creates the next file and fills it with zeros, so that commits do
// not extend it.
func (l *Log) prepareNext() (bool, error) {
	w := &l.w
	w.mu.Lock()
	wanted := w.wantsPrepared && w.prepared == nil && !l.closed.Load() && !w.failed.Load()
	w.wantsPrepared = w.wantsPrepared && !wanted
	w.mu.Unlock()
	if !wanted {
		return false, nil
	}
	path := l.path(preparedName)
	f, err := disk.Recreate(l.fs, path)
	if err != nil {
		return false, err
	}
	if err = l.writeZeros(f); err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		// The next segment is extended as it is written.
		return false, errors.Join(err, f.Close(), l.fs.Remove(path))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prepared = f
	return true, nil
}

const (
	preparedName = "next" + tmpExt
	// prepareSyncBytes is how much is synced at once while a file is filled. It
	// is small because it delays the syncs of commits.
	prepareSyncBytes = 4 << 20
)

func (l *Log) writeZeros(f disk.File) error {
	zeros := make([]byte, min(1<<20, l.opt.SegmentBytes))
	for off := int64(0); off < l.opt.SegmentBytes; {
		if err := l.background().Err(); err != nil {
			return err
		}
		n := min(int64(len(zeros)), l.opt.SegmentBytes-off)
		if _, err := f.WriteAt(zeros[:n], off); err != nil {
			return err
		}
		if off += n; off%prepareSyncBytes == 0 || off == l.opt.SegmentBytes {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	return nil
}
