// Package eventlog is the log of events above any storage engine. It batches
// events and makes them durable, delivers commits of this and other processes
// to readers, applies events to projections, and enforces retention. It knows
// nothing of Caddy, of HTTP or of how an engine stores events.
//
// The log is the source of truth. No event is acknowledged before it is synced.
// Everything derived can be lost and rebuilt from the log.
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

// Errors of Append and of readers. All of them are temporary: the caller should
// try again.
var (
	// ErrOverloaded means that the queue is full. Nothing was written.
	ErrOverloaded = admission.ErrOverloaded
	// ErrUnavailable means that the store is being reopened. Nothing was written.
	ErrUnavailable = errors.New("event log is not available")
	// ErrOutcomeUnknown means that the commit failed and the event may or may not
	// be in the log. Sending it again is safe.
	ErrOutcomeUnknown = errors.New("commit failed, outcome unknown")
	// ErrClosed means that the log was closed.
	ErrClosed = errors.New("event log is closed")
)

// Options of a log. Open is required.
type Options struct {
	// Open opens the engine. It is called again after the store was closed
	// because of a failed write; poisoned is true then.
	Open func(poisoned bool) (storage.Store, error)
	// Settings can be changed later.
	Settings
	// Projections are maintained in addition to those of the log itself.
	Projections []Projection
	// Admission limits what is accepted. The default is a controller of the log's
	// own.
	Admission *admission.Controller
	Logger    *zap.Logger
	Observer  Observer
}

// Observer is told what the log does, for metrics. Its methods must not block.
type Observer interface {
	// Committed is called when a batch of n events is durable. wait is how long
	// its oldest event was queued, commit how long the engine took including its
	// sync, queued how many events were waiting behind it.
	Committed(n, duplicates int, wait, commit time.Duration, queued int)
	// Duplicate is called when an event was found in the log before it joined a
	// batch.
	Duplicate()
	// Projected is called when the projector has applied n events. lag is how
	// many events it is behind.
	Projected(n int, took time.Duration, lag uint64)
	// Pruned is called when retention has removed n events.
	Pruned(n int)
	// Refused is called when an append was refused or failed with err.
	Refused(err error)
	// Mismatched is called when an event came again with another body.
	Mismatched()
	// SetAside is called when an event could not be projected and was left out.
	SetAside()
	// Reopened is called when the store was reopened after a failed write.
	Reopened()
}

// Log is an open event log.
type Log struct {
	opt      Options
	log      *zap.Logger
	settings atomic.Pointer[Settings]
	store    atomic.Pointer[storeHandle] // nil while the store is being reopened.
	commits  *groupCommit
	feed     feed
	clock    *retentionClock
	floor    atomic.Uint64 // The first sequence number that is kept, as last seen.

	appliers    []*applier
	workflows   *applier
	projectNow  chan struct{} // Signals the projector that a reader is waiting.
	noSpace     atomic.Bool   // The projector has no disk space.
	setAside    atomic.Int64  // Events that could not be projected.
	damage      damage
	storeClosed chan struct{} // Signals that the store has closed itself.

	closing  sync.RWMutex // Held for reading while an event is queued.
	closed   bool
	stop     chan struct{}
	stopped  context.Context // Ends with stop.
	cancel   context.CancelFunc
	finished sync.WaitGroup
}

// Open opens the engine and starts the goroutines that commit, follow, project
// and prune.
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
		clock:       newRetentionClock(),
		projectNow:  make(chan struct{}, 1),
		storeClosed: make(chan struct{}, 1),
		stop:        make(chan struct{}),
	}
	if l.opt.Admission == nil {
		l.opt.Admission = admission.NewController()
	}
	l.commits = newGroupCommit(l)
	l.applySettings(settings)
	l.feed.store, l.feed.log, l.feed.scan = &l.store, l.log, l.scan
	l.stopped, l.cancel = context.WithCancel(context.Background())
	l.workflows = newApplier(l, workflows{})
	l.appliers = []*applier{l.workflows}
	for _, p := range opt.Projections {
		l.appliers = append(l.appliers, newApplier(l, p))
	}
	if err := l.openStore(false); err != nil {
		l.cancel()
		return nil, err
	}
	if err := l.loadClock(l.stopped); err != nil {
		l.cancel()
		return nil, errors.Join(err, l.store.Load().Close())
	}
	// Attach now, so that a rebuild is known before the first reader asks.
	for _, f := range l.appliers {
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

// Close stops accepting events, commits the accepted ones and closes the
// engine. It does not wait for projections. It may be called more than once.
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
	for _, f := range l.appliers {
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

// Head returns the sequence number of the last committed event.
func (l *Log) Head() uint64 { return l.feed.head.load() }

// Bounds returns the range of sequence numbers that the log holds. First is
// Head()+1 if it holds none.
func (l *Log) Bounds(ctx context.Context) (storage.Bounds, error) {
	store, err := l.Store()
	if err != nil {
		return storage.Bounds{}, err
	}
	b, err := store.Bounds(ctx)
	return b, unavailable(err)
}

// Wait returns the head as soon as it is greater than after.
func (l *Log) Wait(ctx context.Context, after uint64) (uint64, error) {
	return l.feed.head.wait(ctx, after)
}

// Read returns up to limit events after the given one, in ascending order and
// without bodies. An empty result means that there are none. Damaged events are
// left out; Health reports them.
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

// Get returns one event with its body, or storage.ErrNotFound.
func (l *Log) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	store, err := l.Store()
	if err != nil {
		return nil, err
	}
	e, err := store.Get(ctx, seq)
	return e, unavailable(err)
}

// Query lists events. It finds everything that was committed before the call.
func (l *Log) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	store, err := l.Store()
	if err != nil {
		return storage.Page{}, err
	}
	page, err := store.Query(ctx, q)
	return page, unavailable(err)
}

// WaitProjected returns once every projection has applied seq, or returns a
// RebuildError.
func (l *Log) WaitProjected(ctx context.Context, seq uint64) error {
	for _, f := range l.appliers {
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
