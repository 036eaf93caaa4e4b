// Package eventlog is the log of events above any storage engine: one committer
// that batches and makes durable, a feed that brings what it and other processes
// commit to those who follow, projections that are derived behind it, and
// retention. It knows nothing of Caddy.
//
// The log is the truth. Nothing is acknowledged before it is synced, and
// everything derived can be lost and made again from it.
package eventlog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/storage"
)

// Errors of Append and of readers. Each of them means: not now, try again.
var (
	// ErrOverloaded: the queue is full; nothing was written.
	ErrOverloaded = admission.ErrOverloaded
	// ErrUnavailable: the store is being reopened; nothing was written.
	ErrUnavailable = errors.New("event log is not available")
	// ErrOutcomeUnknown: the commit failed and the event may or may not be in
	// the log. Sending it again is safe.
	ErrOutcomeUnknown = errors.New("commit failed, outcome unknown")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("event log is closed")
)

// Options of a log. Open is required.
type Options struct {
	// Open opens the engine. It is called again after the store was closed because
	// a write failed: poisoned says so.
	Open func(poisoned bool) (storage.Store, error)
	// Settings may be changed later.
	Settings
	// Projections are kept beside those of the log itself.
	Projections []Projection
	// Admission decides what is taken; default is one of the log's own.
	Admission *admission.Controller
	Logger    *zap.Logger
	Observer  Observer
}

// Observer hears what the log does, for metrics. Its methods must not block.
type Observer interface {
	// Committed: a batch of n events is durable. wait is how long its oldest
	// event had queued, commit what the engine took with its sync, queued how
	// many events were waiting behind it.
	Committed(n, duplicates int, wait, commit time.Duration, queued int)
	// Duplicate: an event was in the log before it came to a batch.
	Duplicate()
	// Projected: the projector took n events; lag is how many it is behind.
	Projected(n int, took time.Duration, lag uint64)
	// Pruned: retention forgot n events.
	Pruned(n int)
	// Refused: an append was refused or failed with err.
	Refused(err error)
	// Mismatched: an event came again with another body.
	Mismatched()
	// SetAside: an event could not be projected and was left out.
	SetAside()
	// Reopened: the store was opened anew after a failed write.
	Reopened()
}

// Log is an open event log.
type Log struct {
	opt      Options
	log      *zap.Logger
	settings atomic.Pointer[Settings]
	store    atomic.Pointer[guarded] // nil while it is being reopened
	commits  *groupCommit
	feed     feed
	clock    *retentionClock
	floor    atomic.Uint64 // the first sequence number that is kept, as last seen

	followers []*follower
	workflows *follower
	kick      chan struct{} // somebody waits for the projector
	stalled   atomic.Bool   // the projector has no disk space to write with
	aside     atomic.Int64  // events that could not be projected
	damage    damage
	trouble   chan struct{} // the store has closed itself

	closing  sync.RWMutex // held for reading while enqueuing
	closed   bool
	stop     chan struct{}
	stopped  context.Context // ends with stop
	cancel   context.CancelFunc
	finished sync.WaitGroup
}

// Open opens the engine and starts what writes, follows and maintains the log.
func Open(opt Options) (*Log, error) {
	settings, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt.Logger == nil {
		opt.Logger = zap.NewNop()
	}
	if opt.Observer == nil {
		opt.Observer = noObserver{}
	}
	l := &Log{
		opt: opt, log: opt.Logger,
		clock:   newRetentionClock(),
		kick:    make(chan struct{}, 1),
		trouble: make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	if l.opt.Admission == nil {
		l.opt.Admission = admission.NewController()
	}
	l.commits = newGroupCommit(l)
	l.put(settings)
	l.feed.store, l.feed.log, l.feed.scan = &l.store, l.log, l.scan
	l.stopped, l.cancel = context.WithCancel(context.Background())
	l.workflows = newFollower(l, workflows{})
	l.followers = []*follower{l.workflows}
	for _, p := range opt.Projections {
		l.followers = append(l.followers, newFollower(l, p))
	}
	if err := l.openStore(false); err != nil {
		l.cancel()
		return nil, err
	}
	if err := l.loadClock(l.stopped); err != nil {
		l.cancel()
		return nil, errors.Join(err, l.store.Load().Close())
	}
	// What was left behind is known before anybody asks.
	for _, f := range l.followers {
		if err := f.attach(l.store.Load()); err != nil {
			l.log.Error("opening a projection", zap.String("projection", f.id.Name), zap.Error(err))
		}
	}
	l.finished.Add(4)
	go l.commits.run()
	go l.followLoop()
	go l.projectLoop()
	go l.maintainLoop()
	return l, nil
}

// Close stops taking events, commits what was taken and closes the engine. It does
// not wait for what is derived. It may be called more than once.
func (l *Log) Close() error {
	l.closing.Lock()
	already := l.closed
	l.closed = true
	l.closing.Unlock()
	if !already {
		close(l.stop)
		l.cancel()
	}
	l.finished.Wait()
	l.feed.head.close()
	for _, f := range l.followers {
		f.cursor.close()
	}
	if already {
		return nil
	}
	l.saveClock(context.Background())
	if store := l.store.Swap(nil); store != nil {
		return store.Close()
	}
	return nil
}

// Head is the sequence number of the last committed event.
func (l *Log) Head() uint64 { return l.feed.head.load() }

// Bounds tell which part of the sequence the log holds: First is Head()+1 when it
// holds nothing.
func (l *Log) Bounds(ctx context.Context) (storage.Bounds, error) {
	store, err := l.Store()
	if err != nil {
		return storage.Bounds{}, err
	}
	b, err := store.Bounds(ctx)
	return b, unavailable(err)
}

// Wait returns the head as soon as it is beyond after.
func (l *Log) Wait(ctx context.Context, after uint64) (uint64, error) {
	return l.feed.head.wait(ctx, after)
}

// Read returns up to limit events after the given one, ascending, without
// bodies. An empty result means that there is nothing beyond it. What is damaged
// is left out: Health tells of it.
func (l *Log) Read(ctx context.Context, after uint64, limit int) ([]*event.Event, error) {
	if events, ok := l.feed.tail.read(after, limit); ok {
		return events, nil
	}
	store, err := l.Store()
	if err != nil {
		return nil, err
	}
	through := l.Head()
	if after >= through {
		return nil, nil
	}
	events := make([]*event.Event, 0, min(limit, int(min(through-after, 4096))))
	err = l.scan(ctx, store, after, through, func(e *event.Event) bool {
		events = append(events, e)
		return len(events) < limit
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return events, nil
}

// Get reads one event with its body, or storage.ErrNotFound.
func (l *Log) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	store, err := l.Store()
	if err != nil {
		return nil, err
	}
	e, err := store.Get(ctx, seq)
	return e, unavailable(err)
}

// Query lists events, all that were committed before the call.
func (l *Log) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	store, err := l.Store()
	if err != nil {
		return storage.Page{}, err
	}
	page, err := store.Query(ctx, q)
	return page, unavailable(err)
}

// WaitProjected returns once every projection has passed seq, or a RebuildError.
func (l *Log) WaitProjected(ctx context.Context, seq uint64) error {
	for _, f := range l.followers {
		if err := f.wait(ctx, seq); err != nil {
			return err
		}
	}
	return nil
}

type noObserver struct{}

func (noObserver) Committed(int, int, time.Duration, time.Duration, int) {}
func (noObserver) Projected(int, time.Duration, uint64)                  {}
func (noObserver) Pruned(int)                                            {}
func (noObserver) Refused(error)                                         {}
func (noObserver) Duplicate()                                            {}
func (noObserver) SetAside()                                             {}
func (noObserver) Reopened()                                             {}
func (noObserver) Mismatched()                                           {}
