// Package eventlog is the log of events above any storage engine: one committer
// that batches and makes durable, a projector that derives indexes and states
// behind it, retention, and readers that follow. It knows nothing of Caddy.
//
// The log is the truth. Nothing is acknowledged before it is synced, and
// everything derived can be lost and made again from it.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Errors of Append and of readers. Each of them means: not now, try again.
var (
	// ErrOverloaded: the queue is full; nothing was written.
	ErrOverloaded = errors.New("event log is overloaded")
	// ErrUnavailable: the store is being reopened; nothing was written.
	ErrUnavailable = errors.New("event log is not available")
	// ErrOutcomeUnknown: the commit failed and the event may or may not be in
	// the log. Sending it again is safe.
	ErrOutcomeUnknown = errors.New("commit failed, outcome unknown")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("event log is closed")
)

// Defaults of Options.
const (
	DefaultRetention   = 30 * 24 * time.Hour
	MinRetention       = 24 * time.Hour
	DefaultQueueEvents = 16384
	DefaultQueueBytes  = 64 << 20
)

// Options of a log. Open is required.
type Options struct {
	// Open opens the engine. It is called again after a failed commit.
	Open func() (storage.Store, error)
	// Retention is how long events are kept by their ReceivedAt.
	Retention time.Duration
	// QueueEvents and QueueBytes bound what waits for a commit, or to enter.
	QueueEvents int
	QueueBytes  int64
	Logger      *zap.Logger
	Observer    Observer
}

// Observer hears what the log does, for metrics. Its methods must not block.
type Observer interface {
	// Committed: a batch of n events is durable. wait is how long its oldest
	// event had queued, commit what the engine took with its sync, queued how
	// many events were waiting behind it.
	Committed(n, duplicates int, wait, commit time.Duration, queued int)
	// Projected: the projector took n events; lag is how many it is behind.
	Projected(n int, took time.Duration, lag uint64)
	// Pruned: retention forgot n events.
	Pruned(n int)
	// Refused: an append was refused or failed with err.
	Refused(err error)
	// Mismatched: an event came again with another body.
	Mismatched()
}

// Log is an open event log.
type Log struct {
	opt    Options
	log    *zap.Logger
	store  atomic.Pointer[storeRef]
	door   door
	queue  chan *pending
	queued atomic.Int64 // bytes in queue

	pendings sync.Pool // of *pending

	awaited atomic.Int64  // how long a queue the committer waits for; 0: it does not
	arrived chan struct{} // the queue is that long

	head      watermark // last committed sequence number
	projected watermark // last projected sequence number
	tail      tail      // recent events without bodies

	kick    chan struct{} // somebody waits for the projector
	stalled atomic.Bool   // the projector has no disk space to write with
	doubt   chan struct{} // the store lets the projector in no more

	closing  sync.RWMutex // held for reading while enqueuing
	closed   bool
	stop     chan struct{}
	stopped  context.Context // ends with stop
	cancel   context.CancelFunc
	finished sync.WaitGroup
}

type storeRef struct{ storage.Store }

// Open opens the engine and starts the committer and the projector.
func Open(opt Options) (*Log, error) {
	if opt.Retention == 0 {
		opt.Retention = DefaultRetention
	}
	if opt.Retention < MinRetention {
		return nil, fmt.Errorf("retention %v is under the minimum of %v: duplicates could not be told from new events", opt.Retention, MinRetention)
	}
	if opt.QueueEvents == 0 {
		opt.QueueEvents = DefaultQueueEvents
	}
	if opt.QueueBytes == 0 {
		opt.QueueBytes = DefaultQueueBytes
	}
	if opt.Logger == nil {
		opt.Logger = zap.NewNop()
	}
	if opt.Observer == nil {
		opt.Observer = noObserver{}
	}
	l := &Log{
		opt: opt, log: opt.Logger,
		door:  newDoor(),
		queue: make(chan *pending, opt.QueueEvents),
		kick:  make(chan struct{}, 1),
		doubt: make(chan struct{}, 1),
		stop:  make(chan struct{}),

		pendings: sync.Pool{New: newPending},
		arrived:  make(chan struct{}, 1),
	}
	l.stopped, l.cancel = context.WithCancel(context.Background())
	if err := l.openStore(); err != nil {
		l.cancel()
		return nil, err
	}
	l.finished.Add(2)
	go l.commitLoop()
	go l.projectLoop()
	return l, nil
}

// openStore opens the engine and takes over where it stands.
func (l *Log) openStore() error {
	store, err := l.opt.Open()
	if err != nil {
		return err
	}
	bounds, err := store.Bounds(l.stopped)
	if err == nil {
		var projected uint64
		if projected, err = store.Projected(l.stopped); err == nil {
			l.tail.reset(bounds.Last)
			l.store.Store(&storeRef{store})
			l.head.advance(bounds.Last)
			l.projected.advance(projected)
			return nil
		}
	}
	return errors.Join(err, store.Close())
}

// Close stops taking events, commits what was taken, stops the projector and
// closes the engine. It may be called more than once.
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
	l.head.close()
	l.projected.close()
	if already {
		return nil
	}
	if ref := l.store.Swap(nil); ref != nil {
		return ref.Close()
	}
	return nil
}

// Store is the engine, for documents, backup and usage; ErrUnavailable while it
// is being reopened.
func (l *Log) Store() (storage.Store, error) {
	if ref := l.store.Load(); ref != nil {
		return ref.Store, nil
	}
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return nil, ErrClosed
	}
	return nil, ErrUnavailable
}

// Head is the sequence number of the last committed event.
func (l *Log) Head() uint64 { return l.head.load() }

// First is the sequence number from which events are kept; Head()+1 when none is.
func (l *Log) First(ctx context.Context) (uint64, error) {
	store, err := l.Store()
	if err != nil {
		return 0, err
	}
	b, err := store.Bounds(ctx)
	return b.First, unavailable(err)
}

// Wait returns the head as soon as it is beyond after.
func (l *Log) Wait(ctx context.Context, after uint64) (uint64, error) {
	return l.head.wait(ctx, after)
}

// Read returns up to limit events after the given one, ascending, without
// bodies. An empty result means that there is nothing beyond it.
func (l *Log) Read(ctx context.Context, after uint64, limit int) ([]*event.Event, error) {
	if events, ok := l.tail.read(after, limit); ok {
		return events, nil
	}
	store, err := l.Store()
	if err != nil {
		return nil, err
	}
	through := l.head.load()
	if after >= through {
		return nil, nil
	}
	events := make([]*event.Event, 0, min(limit, int(min(through-after, 4096))))
	err = store.Scan(ctx, after, through, func(e *event.Event) bool {
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

// Query lists events. It first waits until everything that was committed before
// the call can be found. On a full disk the indexes stand still: then it lists
// what they have.
func (l *Log) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := l.WaitProjected(ctx, l.head.load()); err != nil {
		return storage.Page{}, err
	}
	store, err := l.Store()
	if err != nil {
		return storage.Page{}, err
	}
	page, err := store.Query(ctx, q)
	return page, unavailable(err)
}

// QueryIndexed is Query over what is in the indexes now, without waiting for the
// projector. It says how far they go: what is beyond has to be read from the log.
func (l *Log) QueryIndexed(ctx context.Context, q storage.Query) (page storage.Page, through uint64, err error) {
	store, err := l.Store()
	if err != nil {
		return storage.Page{}, 0, err
	}
	if through, err = store.Projected(ctx); err == nil {
		page, err = store.Query(ctx, q)
	}
	return page, through, unavailable(err)
}

// WaitProjected returns once the projector has passed seq, or stalls on a full disk.
func (l *Log) WaitProjected(ctx context.Context, seq uint64) error {
	if l.projected.load() >= seq {
		return nil
	}
	select {
	case l.kick <- struct{}{}:
	default: // a kick is already waiting
	}
	if seq == 0 {
		return nil
	}
	for {
		changed, err := l.projected.changed()
		if err != nil {
			return err
		}
		if l.projected.load() >= seq || l.starved() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unavailable turns the engine's closed error, which a reader meets while the
// store is being reopened, into the log's own.
func unavailable(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return ErrUnavailable
	}
	return err
}

type noObserver struct{}

func (noObserver) Committed(int, int, time.Duration, time.Duration, int) {}
func (noObserver) Projected(int, time.Duration, uint64)                  {}
func (noObserver) Pruned(int)                                            {}
func (noObserver) Refused(error)                                         {}
func (noObserver) Mismatched()                                           {}
