package segment

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

const (
	// maxBuffer is the largest buffer that is reused for the next batch.
	maxBuffer = 4 << 20
	// parallelIndexMin is the number of events from which the tables are filled
	// in another goroutine while the disk syncs.
	parallelIndexMin = 8
)

// writer is the end of the log that new batches are written to.
type writer struct {
	mu  sync.Mutex
	seg *segment
	u   *unsealed
	// off is the offset of the next batch, sum the checksum of the previous
	// header.
	off int64
	sum uint32
	// dataSum is the checksum of the log's last batch with events.
	dataSum uint32
	// started is the LoggedAt of the segment's first event.
	started int64
	buf     []byte
	// prepared is the next file, already filled with zeros, or nil.
	prepared      disk.File
	wantsPrepared bool
	// failed means that a write or a sync has failed. The writer accepts nothing
	// then.
	failed atomic.Bool
}

// Append writes events at the end of the log with one write and one sync. Their
// sequence numbers are set and contiguous; if the first is greater than Next,
// the numbers between are skipped. When it returns nil, the events are durable
// and visible. After an error the outcome is unknown, and further calls return
// ErrClosed.
func (l *Log) Append(events []*event.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := l.checkedAppend(events)
	if l.opt.inline && err == nil {
		l.runInline()
	}
	return err
}

func (l *Log) checkedAppend(events []*event.Event) error {
	w := &l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.closed.Load() || w.failed.Load() {
		return storage.ErrClosed
	}
	first := events[0].Seq
	if first < l.next.Load() || len(events) > l.opt.SegmentEvents {
		return fmt.Errorf("append %d events from %d on: %d is next", len(events), first, l.next.Load())
	}
	for i, e := range events {
		if e.Seq != first+uint64(i) {
			return fmt.Errorf("append: event %d follows %d", e.Seq, first+uint64(i)-1)
		}
	}
	if err := l.append(events); err != nil {
		w.failed.Store(true)
		return fmt.Errorf("append to the log: %w", err)
	}
	return nil
}

func (l *Log) append(events []*event.Event) error {
	w := &l.w
	failpoint.Hit("segment.append.begin")
	first, held := events[0].Seq, w.u.count()
	logged := unixNano(events[0].LoggedAt)
	if skip := first != l.next.Load(); skip || held > 0 && (held+len(events) > l.opt.SegmentEvents || logged > w.started+int64(l.opt.MaxAge)) {
		if err := l.roll(first); err != nil {
			return err
		}
		held = 0
		if skip {
			if err := l.recordSkipped(); err != nil {
				return err
			}
		}
	}
	buf, h, err := appendBatch(w.buf[:0], w.u.salt, w.sum, events)
	if err != nil {
		return err
	}
	if held > 0 && w.off+h.size() > l.opt.SegmentBytes {
		if err := l.roll(first); err != nil {
			return err
		}
		held = 0
		if buf, h, err = appendBatch(buf[:0], w.u.salt, w.sum, events); err != nil {
			return err
		}
	}
	if w.buf = buf; cap(buf) > maxBuffer {
		w.buf = nil
	}
	if _, err := w.u.file.WriteAt(buf, w.off); err != nil {
		return err
	}
	failpoint.Hit("segment.written")
	if err := l.syncAndIndex(held, events); err != nil {
		return err
	}
	failpoint.Hit("segment.synced")
	if held == 0 {
		w.started = logged
	}
	w.u.publish(w.off, &h, events)
	w.off += h.size()
	w.sum, w.dataSum = h.sum, h.sum
	last := first + uint64(len(events)) - 1
	l.next.Store(last + 1)
	l.last.Store(last)
	if !w.wantsPrepared && w.off > l.opt.SegmentBytes/4 && w.prepared == nil {
		w.wantsPrepared = true
		l.work.wake()
	}
	return nil
}

// syncAndIndex syncs the file and fills the tables. The events are not visible
// yet.
func (l *Log) syncAndIndex(pos int, events []*event.Event) error {
	u := l.w.u
	if len(events) < parallelIndexMin {
		u.index(pos, events)
		return u.file.Sync()
	}
	done := make(chan struct{})
	go func() {
		u.index(pos, events)
		close(done)
	}()
	err := u.file.Sync()
	<-done
	return err
}

// roll starts a new segment. The previous one is complete and is sealed in the
// background.
func (l *Log) roll(base uint64) error {
	w := &l.w
	old := w.seg
	if err := l.begin(base); err != nil {
		return fmt.Errorf("begin segment %d: %w", base, err)
	}
	failpoint.Hit("segment.roll")
	empty := old.count() == 0
	l.replaceSegments(func(segs []*segment) []*segment {
		if empty {
			segs = segs[:len(segs)-1]
		}
		return append(segs, w.seg)
	})
	if empty {
		if err := l.fs.Remove(old.unsealed().path); err != nil {
			l.logger.Warn("an empty segment stays", zap.Error(err)) // until the next start
		}
	} else {
		l.work.toSeal.Add(1)
	}
	l.work.wake()
	return nil
}

// begin creates the file of a new segment and continues in it.
func (l *Log) begin(base uint64) error {
	w := &l.w
	head := fileHead{salt: randomUint64(), base: base, predLast: l.last.Load(), predSum: w.dataSum, seed: l.seed}
	b := head.encode()
	tmp := l.path(preparedName)
	f := w.prepared
	w.prepared, w.wantsPrepared = nil, false
	if f == nil {
		var err error
		tmp = l.path("new" + tmpExt)
		if f, err = disk.Recreate(l.fs, tmp); err != nil {
			return err
		}
	}
	path := l.path(fileName(base, logExt))
	_, err := f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.Rename(tmp, path)
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	w.u = newUnsealed(f, path, head, l.report)
	w.seg = &segment{base: base, pred: head.predLast, content: w.u}
	w.off, w.sum = fileDataStart, head.sum
	l.next.Store(base)
	return nil
}

// Jump makes `to` the next sequence number if it is greater than Next. The
// numbers between are never used and stay in Bounds().Skipped.
func (l *Log) Jump(to uint64) error {
	w := &l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.closed.Load() || w.failed.Load() {
		return storage.ErrClosed
	}
	if to <= l.next.Load() {
		return nil
	}
	err := l.roll(to)
	if err == nil {
		err = l.recordSkipped()
	}
	if err != nil {
		w.failed.Store(true)
		return fmt.Errorf("jump to %d: %w", to, err)
	}
	return nil
}

// recordSkipped stores the numbers that were skipped before the newest segment
// in the floor file. After a crash before that, Open does it.
func (l *Log) recordSkipped() error {
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	m := l.manifest
	if !m.skip(storage.Range{First: l.last.Load() + 1, Last: l.w.seg.base - 1}) {
		return nil
	}
	return l.storeManifest(m)
}

// markEnd writes a mark that tells the next Open that nothing is missing. The
// caller holds w.mu.
func (l *Log) markEnd() error {
	w := &l.w
	if w.failed.Load() || w.u.count() == 0 {
		return nil
	}
	b := endMark(w.u.salt, w.sum, l.next.Load())
	if _, err := w.u.file.WriteAt(b, w.off); err != nil {
		return err
	}
	return w.u.file.Sync()
}

func (l *Log) dropPrepared() {
	if l.w.prepared != nil {
		_ = l.w.prepared.Close()
		_ = l.fs.Remove(l.path(preparedName)) // If this fails, the next start removes the file.
		l.w.prepared = nil
	}
}

func randomUint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
