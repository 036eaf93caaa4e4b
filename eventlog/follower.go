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

// follower takes one projection along the log, behind a cursor of its own.
type follower struct {
	log        *Log
	projection Projection
	id         storage.Projection
	records    Records

	// Of the projector alone.
	opened *guarded // the store that the cursor is of; nil: ask it
	limit  int
	more   bool // the last step left something out
	sweep  sweep

	cursor  watermark
	base    atomic.Uint64 // where the rebuild began, and
	target  atomic.Uint64 // the head at that moment; 0 or passed: none is under way
	reload  atomic.Bool   // the cursor is not what it was thought to be
	rebuild atomic.Bool   // the records are not what they should be: make them anew

	mu       sync.Mutex
	suspects map[string]time.Time // keys that the records were made anew for
}

// Suspects are not believed again for suspectFor, maxSuspects of them at once.
const (
	suspectFor  = time.Hour
	maxSuspects = 1024
)

func newFollower(l *Log, p Projection) *follower {
	id := storage.Projection{Name: p.Name(), Version: p.Version()}
	return &follower{
		log: l, projection: p, id: id, limit: projectMax, suspects: make(map[string]time.Time),
		records: Records{
			ctx: l.stopped, p: id, fresh: p.NewValue, touched: make(map[string]*record), recent: make(map[string]*record),
		},
	}
}

// lag is how many sequence numbers the projection is behind.
func (f *follower) lag() uint64 {
	head, cursor := f.log.Head(), f.cursor.load()
	return head - min(head, cursor)
}

// restart reports whether the projector has to ask the store for the cursor.
func (f *follower) restart() bool {
	return f.opened != f.log.store.Load() || f.reload.Load() || f.rebuild.Load()
}

// attach asks the store where the projection stands.
func (f *follower) attach(store *guarded) error {
	f.opened = nil
	f.records.drop()
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
	f.begin(cursor, max(cursor, max(bounds.First, 1)-1), f.log.Head(), anew)
	if anew {
		f.rebuild.Store(false)
	}
	f.opened = store
	return nil
}

// begin notes where the projection stands. Up to one step behind is what follows
// from being a projection; beyond that it is being rebuilt.
func (f *follower) begin(cursor, base, head uint64, anew bool) {
	if target := f.target.Load(); cursor < target && base >= f.base.Load() {
		// The rebuild under way goes on.
	} else if head > base && (anew || head-base > projectMax) {
		f.base.Store(base)
		f.target.Store(head)
		f.log.log.Info("rebuilding a projection", zap.String("projection", f.id.Name), zap.Uint64("events", head-base))
	} else {
		f.target.Store(0)
	}
	f.cursor.set(cursor)
}

// progress is how far the rebuild is that is under way, or nil.
func (f *follower) progress() *storage.RebuildError {
	cursor, base, target := f.cursor.load(), f.base.Load(), f.target.Load()
	if f.rebuild.Load() {
		return &storage.RebuildError{Part: f.id.Name, Total: max(f.log.Head(), 1)}
	}
	if cursor >= target {
		return nil
	}
	return &storage.RebuildError{Part: f.id.Name, Done: max(cursor, base) - base, Total: target - min(base, target)}
}

// step folds what comes next. It returns how many events these were.
func (f *follower) step(store *guarded) (int, error) {
	l, start := f.log, time.Now()
	if f.restart() {
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
	f.more = true // unless it comes to its end
	through := max(head, from)
	n := 0
	for _, e := range events {
		if err := f.records.fold(f.projection, e); err != nil {
			return 0, f.failed(store, from, events, err)
		}
		through = e.Seq
		if n++; f.records.step > stepBytes {
			break
		}
	}
	records, err := f.records.encoded()
	if err == nil {
		err = store.Project(l.stopped, storage.Step{Projection: f.id, From: from, Through: through, Records: records})
		if err != nil && !errors.Is(err, storage.ErrTooLarge) {
			err = storeError{err}
		}
	}
	if err != nil {
		return 0, f.failed(store, from, events, err)
	}
	f.records.keep()
	f.moved(through)
	f.more = n < len(events) || f.limit < projectMax
	f.limit = min(2*f.limit, projectMax)
	l.opt.Observer.Projected(n, time.Since(start), f.lag())
	return n, nil
}

func (f *follower) moved(through uint64) {
	was := f.progress()
	f.cursor.advance(through)
	if was != nil && f.progress() == nil {
		f.log.log.Info("a projection is rebuilt", zap.String("projection", f.id.Name))
	}
}

// failed deals with a step that failed. What the store says goes to the
// projector. Anything else speaks of an event: the step gets smaller until it is
// the only one, which is then set aside.
func (f *follower) failed(store *guarded, from uint64, events []*event.Event, err error) error {
	f.records.drop()
	switch {
	case errors.Is(err, storage.ErrConflict):
		f.reload.Store(true) // another process has written, or all was lost
		return nil
	case errors.Is(err, errUnreadable):
		f.rebuild.Store(true)
		return nil
	case errors.As(err, new(storeError)):
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
	f.moved(through)
	l.aside.Add(1)
	l.opt.Observer.SetAside()
	l.log.Error("an event cannot be projected and is set aside",
		zap.String("projection", f.id.Name), zap.Uint64("seq", through), zap.Error(err))
	return nil
}

// suspect has the records made anew because of a key that is not in them and
// should be. False if that was done already, lately: then it is as it is.
func (f *follower) suspect(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.suspects[key]; ok && time.Since(at) < suspectFor {
		return false
	}
	if len(f.suspects) >= maxSuspects {
		clear(f.suspects)
	}
	f.suspects[key] = time.Now()
	f.rebuild.Store(true)
	signal(f.log.kick)
	return true
}

// wait returns once everything up to seq is projected. It does not wait for a
// rebuild, nor for a projector that has no space to write with.
func (f *follower) wait(ctx context.Context, seq uint64) error {
	if f.cursor.load() < seq {
		signal(f.log.kick)
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
			return f.behind(f.cursor.load(), seq)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// behind is what who asks hears of a projection that is not where it should be.
func (f *follower) behind(cursor, seq uint64) error {
	first := max(f.log.floor.Load(), 1) - 1
	cursor = max(cursor, first)
	return &storage.RebuildError{Part: f.id.Name, Done: cursor - first, Total: max(seq, cursor) - first}
}

// get reads a record, which holds everything that was committed before the call.
// storage.ErrNotFound if there is none; a RebuildError while that cannot be told.
func (f *follower) get(ctx context.Context, key string, v Value) error {
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
	if cursor < head { // they were lost just now
		f.reload.Store(true)
		signal(f.log.kick)
		return f.behind(cursor, head)
	}
	if err != nil {
		return storage.ErrNotFound
	}
	through, err := decodeRecord(raw, v)
	if err != nil {
		f.suspect(key)
		return f.behind(0, head)
	}
	bounds, err := store.Bounds(ctx)
	if err != nil {
		return unavailable(err)
	}
	if through < bounds.First {
		return storage.ErrNotFound // nothing of it is kept
	}
	return nil
}
