package segment

import (
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/disk"
)

// resume prepares the log for appending. It first writes the end of the newest
// file again, because the disk may hold less of it than the page cache.
func (l *Log) resume(o *opening) error {
	s := o.newest
	if s != nil && s.lastAt != 0 {
		if err := rewrite(s); err != nil {
			return err
		}
	}
	l.last.Store(o.last)
	l.next.Store(o.last + 1)
	l.w.dataSum = o.sum
	base := l.next.Load()
	if s != nil && s.next == s.u.head.base {
		// The newest file is empty. A new file replaces it and takes its base.
		base = s.u.head.base
		o.segs = o.segs[:len(o.segs)-1]
		s.u.close()
		s = nil
	}
	if s == nil || !s.clean || l.opt.Poisoned || s.u.damaged {
		if err := l.begin(base); err != nil {
			return err
		}
		o.segs = append(o.segs, l.w.seg)
	} else {
		l.next.Store(s.next)
		l.w.u, l.w.seg = s.u, o.segs[len(o.segs)-1]
		l.w.off, l.w.sum = s.end, s.sum
		l.w.started = firstLogged(s.u)
	}
	l.cur = newVersion(o.segs)
	for _, seg := range o.segs[:len(o.segs)-1] {
		if seg.unsealed() != nil && !seg.failed.Load() {
			l.work.toSeal.Add(1)
		}
	}
	return nil
}

func firstLogged(u *unsealed) int64 {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.loggedAt[0]
}

// rewrite writes the last valid batch of a file again and syncs it.
func rewrite(s *scanned) error {
	b := make([]byte, s.end-s.lastAt)
	if err := disk.ReadFull(s.u.file, b, s.lastAt); err != nil {
		return err
	}
	if _, err := s.u.file.WriteAt(b, s.lastAt); err != nil {
		return err
	}
	return s.u.file.Sync()
}

// removeOrphans deletes the large bodies that no event refers to. If anything
// is damaged it deletes none, because unreadable events may refer to them.
func (l *Log) removeOrphans() error {
	entries, err := l.fs.ReadDir(l.path(largeDir))
	if err != nil || len(entries) == 0 {
		return err
	}
	refs := make(map[string]struct{}, len(entries))
	for _, seg := range l.cur.segs {
		names, err := seg.names()
		if err != nil {
			l.logger.Warn("large bodies are not swept: a segment does not say which it has", zap.Error(err))
			return nil
		}
		for _, name := range names {
			refs[name] = struct{}{}
		}
	}
	if len(l.damages.ranges)+len(l.damages.repaired) > 0 {
		l.logger.Warn("large bodies are not swept while events cannot be read")
		return nil
	}
	for _, e := range entries {
		if _, ok := refs[e.Name]; ok {
			continue
		}
		if err := l.RemoveLarge(e.Name); err != nil {
			return err
		}
	}
	return nil
}
