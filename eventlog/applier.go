package eventlog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// applier applies the events of the log to one projection. Its cursor is the
// last event that was applied.
type applier struct {
	log        *Log
	projection Projection
	id         storage.Projection
	records    Records

	// The store that the cursor belongs to. nil: the cursor has to be read.
	opened *storeHandle
	limit  int
	more   bool // The last step left events out.
	vacuum vacuum

	cursor watermark
	base   atomic.Uint64 // Where the rebuild began.
	// The head when the rebuild began. 0 or passed: no rebuild is running.
	target  atomic.Uint64
	reload  atomic.Bool // The cursor has to be read from the store again.
	rebuild atomic.Bool // The records are wrong and have to be rebuilt.

	mu      sync.Mutex
	missing map[string]time.Time // Keys that caused a rebuild because their records were missing.
}

// A missing key causes no further rebuild for missingTTL. maxMissing bounds how
// many such keys are remembered.
const (
	missingTTL = time.Hour
	maxMissing = 1024
)

func newApplier(l *Log, p Projection) *applier {
	id := storage.Projection{Name: p.Name(), Version: p.Version()}
	return &applier{
		log: l, projection: p, id: id, limit: projectMax, missing: make(map[string]time.Time),
		records: Records{
			ctx: l.stopped, p: id, newValue: p.NewValue, touched: make(map[string]*record), cache: make(map[string]*record),
		},
	}
}

// lag returns how many sequence numbers the projection is behind the head.
func (f *applier) lag() uint64 {
	head, cursor := f.log.Head(), f.cursor.load()
	return head - min(head, cursor)
}

// needsAttach reports whether the cursor has to be read from the store.
func (f *applier) needsAttach() bool {
	return f.opened != f.log.store.Load() || f.reload.Load() || f.rebuild.Load()
}

// attach reads the cursor from the store.
func (f *applier) attach(store *storeHandle) error {
	f.opened = nil
	f.records.reset()
	f.records.store = store
	anew := f.rebuild.Load()
	if anew {
		f.log.log.Warn("a projection is made anew", zap.String("projection", f.id.Name))
		if err := store.DropProjection(f.log.stopped, f.id); err != nil {
			return err
		}
	}
	f.reload.Store(false)
	cursor, err := store.OpenProjection(f.log.stopped, f.id)
	if err != nil {
		return err
	}
	bounds, err := store.Bounds(f.log.stopped)
	if err != nil {
		return err
	}
	f.startRebuild(cursor, max(cursor, max(bounds.First, 1)-1), f.log.Head(), anew)
	if anew {
		f.rebuild.Store(false)
	}
	f.opened = store
	return nil
}

// startRebuild records where the projection stands. A projection is always up
// to one step behind; one that is further behind is being rebuilt.
func (f *applier) startRebuild(cursor, base, head uint64, anew bool) {
	if target := f.target.Load(); cursor < target && base >= f.base.Load() {
		// The running rebuild continues.
	} else if head > base && (anew || head-base > projectMax) {
		f.base.Store(base)
		f.target.Store(head)
		f.log.log.Info("rebuilding a projection", zap.String("projection", f.id.Name), zap.Uint64("events", head-base))
	} else {
		f.target.Store(0)
	}
	f.cursor.set(cursor)
}

// progress returns how far the running rebuild is, or nil.
func (f *applier) progress() *storage.RebuildError {
	cursor, base, target := f.cursor.load(), f.base.Load(), f.target.Load()
	if f.rebuild.Load() {
		return &storage.RebuildError{Part: f.id.Name, Total: max(f.log.Head(), 1)}
	}
	if cursor >= target {
		return nil
	}
	return &storage.RebuildError{Part: f.id.Name, Done: max(cursor, base) - base, Total: target - min(base, target)}
}

// applyStep applies the next events and returns how many they were.
func (f *applier) applyStep(store *storeHandle) (int, error) {
	l, start := f.log, time.Now()
	if f.needsAttach() {
		if err := f.attach(store); err != nil {
			return 0, err
		}
	}
	from, head := f.cursor.load(), l.Head()
	events, err := l.Read(l.stopped, from, f.limit)
	if err != nil {
		return 0, err
	}
	if len(events) == 0 && head <= from {
		return 0, nil
	}
	f.records.floor = l.floor.Load()
	f.more = true // Cleared at the end of the log.
	through := max(head, from)
	n := 0
	for _, e := range events {
		if err := f.records.fold(f.projection, e); err != nil {
			return 0, f.stepFailed(store, from, events, err)
		}
		through = e.Seq
		if n++; f.records.stepSize > stepBytes {
			break
		}
	}
	records, err := f.records.encode()
	if err == nil {
		err = store.Project(l.stopped, storage.Step{Projection: f.id, From: from, Through: through, Records: records})
		if err != nil && !errors.Is(err, storage.ErrTooLarge) {
			err = storageError{err}
		}
	}
	if err != nil {
		return 0, f.stepFailed(store, from, events, err)
	}
	f.records.commit()
	f.advance(through)
	f.more = n < len(events) || f.limit < projectMax
	f.limit = min(2*f.limit, projectMax)
	l.opt.Observer.Projected(n, time.Since(start), f.lag())
	return n, nil
}

func (f *applier) advance(through uint64) {
	was := f.progress()
	f.cursor.advance(through)
	if was != nil && f.progress() == nil {
		f.log.log.Info("a projection is rebuilt", zap.String("projection", f.id.Name))
	}
}

// stepFailed handles a failed step. An error of the store is returned to the
// projector. Any other error is caused by an event: the step is made smaller
// until it holds only that event, which is then set aside.
func (f *applier) stepFailed(store *storeHandle, from uint64, events []*event.Event, err error) error {
	f.records.reset()
	switch {
	case errors.Is(err, storage.ErrConflict):
		f.reload.Store(true) // Another process has written, or the records were lost.
		return nil
	case errors.Is(err, errUnreadable):
		f.rebuild.Store(true)
		return nil
	case errors.As(err, new(storageError)):
		return err
	case len(events) > 1:
		f.limit = len(events) / 2
		return nil
	}
	l, through := f.log, f.log.Head()
	if len(events) == 1 {
		through = events[0].Seq
	}
	perr := store.Project(l.stopped, storage.Step{Projection: f.id, From: from, Through: through})
	if errors.Is(perr, storage.ErrConflict) {
		f.reload.Store(true)
		return nil
	}
	if perr != nil {
		return perr
	}
	f.advance(through)
	l.setAside.Add(1)
	l.opt.Observer.SetAside()
	l.log.Error("an event cannot be projected and is set aside",
		zap.String("projection", f.id.Name), zap.Uint64("seq", through), zap.Error(err))
	return nil
}

// reportMissing starts a rebuild because the record of a key is missing. It
// returns false if the key caused a rebuild within missingTTL: the record does
// not exist then.
func (f *applier) reportMissing(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.missing[key]; ok && time.Since(at) < missingTTL {
		return false
	}
	if len(f.missing) >= maxMissing {
		clear(f.missing)
	}
	f.missing[key] = time.Now()
	f.rebuild.Store(true)
	signal(f.log.projectNow)
	return true
}

// wait returns once everything up to seq is applied. It does not wait for a
// rebuild, nor while the projector has no disk space.
func (f *applier) wait(ctx context.Context, seq uint64) error {
	if f.cursor.load() < seq {
		signal(f.log.projectNow)
	}
	for {
		changed, err := f.cursor.changed()
		if err != nil {
			return err
		}
		if p := f.progress(); p != nil {
			return p
		}
		if f.cursor.load() >= seq {
			return nil
		}
		if f.log.outOfSpace() {
			return f.lagError(f.cursor.load(), seq)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lagError returns the error for a reader of a projection that is behind seq.
func (f *applier) lagError(cursor, seq uint64) error {
	first := max(f.log.floor.Load(), 1) - 1
	cursor = max(cursor, first)
	return &storage.RebuildError{Part: f.id.Name, Done: cursor - first, Total: max(seq, cursor) - first}
}

// get reads a record that includes everything committed before the call. It
// returns storage.ErrNotFound if there is none, and a RebuildError while a
// rebuild is running.
func (f *applier) get(ctx context.Context, key string, v Value) error {
	head := f.log.Head()
	if err := f.wait(ctx, head); err != nil {
		return err
	}
	store, err := f.log.Store()
	if err != nil {
		return err
	}
	raw, cursor, err := store.GetRecord(ctx, f.id, key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return unavailable(err)
	}
	if cursor < head { // The records were lost meanwhile.
		f.reload.Store(true)
		signal(f.log.projectNow)
		return f.lagError(cursor, head)
	}
	if err != nil {
		return storage.ErrNotFound
	}
	through, err := decodeRecord(raw, v)
	if err != nil {
		f.reportMissing(key)
		return f.lagError(0, head)
	}
	bounds, err := store.Bounds(ctx)
	if err != nil {
		return unavailable(err)
	}
	if through < bounds.First {
		return storage.ErrNotFound // All of its events are below the floor.
	}
	return nil
}
