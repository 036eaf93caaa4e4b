package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// Prune moves the floor beyond the last event that was logged before a time,
// and returns how many events were removed. They are gone at once. Their files
// are deleted in the background.
func (l *Log) Prune(before time.Time) (int, error) {
	if l.closed.Load() {
		return 0, storage.ErrClosed
	}
	n, floor, err := l.moveFloor(before)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	if n == 0 && floor == 0 {
		return 0, nil
	}
	if err := l.rollIfPruned(floor); err != nil {
		return n, fmt.Errorf("prune: %w", err)
	}
	l.work.wake()
	if l.opt.inline {
		l.runInline()
	}
	return n, nil
}

// moveFloor returns the new floor, or 0 if it stays.
func (l *Log) moveFloor(before time.Time) (n int, floor uint64, err error) {
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	v := l.View()
	defer v.Close()
	if floor, err = v.loggedBefore(before); err != nil || floor <= v.Floor {
		return 0, 0, err
	}
	for _, seg := range v.v.segs {
		if _, gone := seg.content.(*lost); gone {
			continue
		}
		if from, to := max(seg.base, v.Floor), min(seg.end(), floor); from < to {
			n += int(to - from)
		}
	}
	m := l.manifest
	m.floor = floor
	if err := l.storeManifest(m); err != nil {
		return 0, 0, err
	}
	return n, floor, nil
}

// loggedBefore returns the sequence number after the last event that was logged
// before a time, or 0.
func (v *View) loggedBefore(before time.Time) (uint64, error) {
	limit := unixNano(before)
	for i := len(v.v.segs) - 1; i >= 0; i-- {
		seg := v.v.segs[i]
		if seg.end() <= v.Floor {
			break
		}
		if seg.minLogged() >= limit {
			continue
		}
		n, err := seg.loggedBefore(before)
		if err != nil && !errors.Is(err, storage.ErrDamaged) {
			return 0, err
		}
		if n > 0 {
			return min(seg.base+uint64(n), v.Last+1), nil
		}
	}
	return 0, nil
}

// rollIfPruned starts a new segment if the floor is beyond the newest one, so
// that the file can be deleted.
func (l *Log) rollIfPruned(floor uint64) error {
	w := &l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.closed.Load() || w.failed.Load() || w.u.count() == 0 || floor < l.next.Load() {
		return nil
	}
	if err := l.roll(l.next.Load()); err != nil {
		w.failed.Store(true)
		return err
	}
	return nil
}

// unlinkOldest deletes the files of the oldest segment if all of it is below
// the floor. The newest segment stays, because it holds the next sequence
// number.
func (l *Log) unlinkOldest() (bool, error) {
	v := l.View()
	defer v.Close()
	if len(v.v.segs) < 2 || v.v.segs[0].end() > v.Floor {
		return false, nil
	}
	seg := v.v.segs[0]
	names, err := seg.names()
	if err != nil {
		l.logger.Warn("large bodies stay until the next start", zap.Error(err))
	}
	l.replaceSegments(func(segs []*segment) []*segment { return segs[1:] })
	if seg.unsealed() != nil && !seg.failed.Load() {
		l.work.sealFinished()
	}
	for _, ext := range []string{idxExt, segExt, logExt} {
		if err := l.fs.Remove(l.path(fileName(seg.base, ext))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return false, err
	}
	failpoint.Hit("segment.unlinked")
	for _, name := range names {
		if err := l.RemoveLarge(name); err != nil {
			return false, err
		}
	}
	return true, nil
}
