package segment

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// worker does the background work, one job at a time: it fills the next file
// with zeros, seals segments, deletes those below the floor, and rebuilds term
// tables.
type worker struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	l      *Log
	signal chan struct{}
	// toSeal is the number of complete segments that wait to be sealed.
	toSeal atomic.Int64
	// sealed signals WaitWritable that a segment was sealed.
	sealed chan struct{}

	mu sync.Mutex
	// queue holds sealed files without a term table. finished counts the events
	// of files that got one since the queue was last empty, total the events of
	// all.
	queue           []*sealedFile
	finished, total uint64
}

// retryAfter is the delay after a failed job.
const retryAfter = 10 * time.Second

func (w *worker) start(l *Log) {
	w.l = l
	w.signal = make(chan struct{}, 1)
	w.sealed = make(chan struct{}, 1)
}

// wake signals the worker that there may be work.
func (w *worker) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// sealFinished is called when a complete segment no longer waits to be sealed.
func (w *worker) sealFinished() {
	w.toSeal.Add(-1)
	select {
	case w.sealed <- struct{}{}:
	default:
	}
}

// end stops the worker and waits for it.
func (w *worker) end() {
	w.cancel()
	w.done.Wait()
}

func (w *worker) run(l *Log) {
	defer w.done.Done()
	for {
		again := w.runOnce(l)
		var retry <-chan time.Time
		if again {
			t := time.NewTimer(retryAfter)
			defer t.Stop()
			retry = t.C
		}
		select {
		case <-w.ctx.Done():
			return
		case <-w.signal:
		case <-retry:
		}
	}
}

// runOnce runs all jobs until there is nothing left to do. It reports whether
// one has failed and should be tried again.
func (w *worker) runOnce(l *Log) (again bool) {
	for {
		did := false
		for _, job := range []struct {
			what string
			do   func() (bool, error)
		}{
			{"fill the next file", l.prepareNext},
			{"unlink a segment", l.unlinkOldest},
			{"seal a segment", l.sealOldest},
			{"make a term table anew", w.rebuildNext},
		} {
			if w.ctx.Err() != nil {
				return false
			}
			ok, err := job.do()
			if err != nil && w.ctx.Err() == nil {
				l.logger.Warn("the log could not "+job.what, zap.Error(err))
				again = true
			}
			if did = ok && err == nil; did {
				break // Start over, so that earlier jobs have priority.
			}
		}
		if !did {
			return again
		}
	}
}

// runInline runs the background work in the calling goroutine.
func (l *Log) runInline() { l.work.runOnce(l) }

// rebuild queues the term table of a segment and returns the RebuildError for
// the caller.
func (w *worker) rebuild(s *sealedFile) error {
	w.mu.Lock()
	s.mu.Lock()
	if !s.queued {
		s.queued = true
		w.queue = append(w.queue, s)
		w.total += uint64(s.count())
	}
	s.mu.Unlock()
	w.mu.Unlock()
	s.dropTermTable()
	w.wake()
	if err := w.progress(); err != nil {
		return err
	}
	return &storage.RebuildError{Part: "index", Total: uint64(s.count())} // It was rebuilt just now.
}

func (w *worker) progress() *storage.RebuildError {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil
	}
	return &storage.RebuildError{Part: "index", Done: w.finished, Total: w.total}
}

// rebuildNext rebuilds the term table of the newest segment in the queue.
func (w *worker) rebuildNext() (bool, error) {
	w.mu.Lock()
	if len(w.queue) == 0 {
		w.mu.Unlock()
		return false, nil
	}
	s := slices.MaxFunc(w.queue, func(a, b *sealedFile) int {
		if a.info.Base < b.info.Base {
			return -1
		}
		return 1
	})
	w.mu.Unlock()
	err := s.buildIndex(w.ctx)
	if w.ctx.Err() != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = slices.DeleteFunc(w.queue, func(o *sealedFile) bool { return o == s })
	w.finished += uint64(s.count())
	if len(w.queue) == 0 {
		w.finished, w.total = 0, 0
	}
	s.mu.Lock()
	s.queued, s.unindexable = false, errors.Is(err, storage.ErrDamaged)
	s.mu.Unlock()
	// After a failure the next query queues it again.
	if err != nil && !errors.Is(err, storage.ErrDamaged) {
		return true, err
	}
	return true, nil
}
