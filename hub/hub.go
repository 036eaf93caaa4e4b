// Package hub delivers the event log to live subscribers. It encodes each event
// once and shares the frame with all subscribers.
//
// It keeps a window of recent frames. A subscriber that falls behind the window
// reads from the log, so a slow subscriber delays no other, needs no queue of
// its own and loses no event.
//
// The package knows the log and filters. It knows nothing of HTTP or Caddy.
package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
)

// Defaults of Options.
const (
	DefaultWindowBytes = 16 << 20
	DefaultWindowRefs  = 1 << 17
)

// readEvents is how many events the hub reads from the log at once.
const readEvents = 256

// Options of a hub.
type Options struct {
	// WindowBytes limits the size of all frames in the windows.
	WindowBytes int
	// WindowRefs limits the number of entries in all windows together. A frame
	// has one entry in the window of every filter that it matches.
	WindowRefs int
	// Bulk limits concurrent reads by Fetch and History. The key is the workspace
	// of the filter. nil means no limit.
	Bulk Limiter
	// HistoryMemory limits the frames that History returned and that are not
	// released yet. nil means no limit.
	HistoryMemory MemoryQuota
	Logger        *zap.Logger
}

// Limiter limits how many callers read in bulk at the same time.
type Limiter interface {
	// Acquire waits for permission. The caller calls release when it is done.
	Acquire(ctx context.Context, key string) (release func(), err error)
}

// MemoryQuota is a limited amount of memory that is shared by owners.
type MemoryQuota interface {
	// Acquire reports whether n more bytes were granted to the owner.
	Acquire(owner string, n int64) bool
	Release(owner string, n int64)
}

// Hub delivers the events of one log to subscriptions.
type Hub struct {
	log *eventlog.Log
	opt Options

	scanDistance uint64 // Differs from the constant in tests only.

	mu        sync.Mutex
	index     index
	groups    map[string]*group
	published uint64 // Every event up to it was delivered to the groups.
	bytes     int    // The size of the frames in all windows.
	order     fifo   // Groups in the order of their appends, for eviction.
	meters    meters
	batches   uint64
	closed    bool

	reads   sync.WaitGroup // Running reads of the log.
	stopped context.Context
	cancel  context.CancelFunc
	done    chan struct{}

	behind        atomic.Int64
	delivered     atomic.Uint64
	subscribers   atomic.Int64
	publishedStat atomic.Uint64 // A copy of published for Stats.
}

// New starts a hub on the log.
func New(log *eventlog.Log, opt Options) *Hub {
	if opt.WindowBytes <= 0 {
		opt.WindowBytes = DefaultWindowBytes
	}
	if opt.WindowRefs <= 0 {
		opt.WindowRefs = DefaultWindowRefs
	}
	if opt.Logger == nil {
		opt.Logger = zap.NewNop()
	}
	h := &Hub{log: log, opt: opt, scanDistance: scanDistance, groups: make(map[string]*group), done: make(chan struct{})}
	h.published = log.Head()
	h.publishedStat.Store(h.published)
	h.meters.start = time.Now()
	h.stopped, h.cancel = context.WithCancel(context.Background())
	go h.follow()
	return h
}

// Close ends all subscriptions and waits until the hub no longer reads the log.
// It may be called more than once.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	groups := make([]*group, 0, len(h.groups))
	for _, g := range h.groups {
		groups = append(groups, g)
	}
	h.mu.Unlock()
	h.cancel()
	<-h.done
	for _, g := range groups {
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.wakeWaiting()
	}
	h.reads.Wait()
}

// Stats are statistics of a hub.
type Stats struct {
	// Subscriptions is the number of open subscriptions, Behind how many of them
	// read from the log, and Filters how many different filters they have.
	Subscriptions, Behind, Filters int
	// Delivered counts deliveries: an event counts once for each subscription
	// that received it.
	Delivered uint64
	// Lag is how many sequence numbers the hub is behind the log.
	Lag uint64
	// WindowBytes is the size of the shared frames.
	WindowBytes int
}

// Stats returns the current statistics.
func (h *Hub) Stats() Stats {
	head, shown := h.log.Head(), h.publishedStat.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{
		Subscriptions: int(h.subscribers.Load()), Behind: int(h.behind.Load()), Filters: len(h.groups),
		Delivered: h.delivered.Load(), Lag: head - min(head, shown), WindowBytes: h.bytes,
	}
}

// follow reads the log and publishes its events in order.
func (h *Hub) follow() {
	defer close(h.done)
	cursor := h.published
	for {
		head, err := h.log.Wait(h.stopped, cursor)
		if err != nil {
			return // The hub or the log was closed.
		}
		events, err := h.log.Read(h.stopped, cursor, readEvents)
		switch {
		case h.stopped.Err() != nil || errors.Is(err, eventlog.ErrClosed):
			return
		case err != nil:
			// The log is being reopened. Its events are published afterwards.
			if !errors.Is(err, eventlog.ErrUnavailable) {
				h.opt.Logger.Error("reading the log for streams", zap.Error(err))
			}
			pause := time.NewTimer(100 * time.Millisecond)
			select {
			case <-pause.C:
			case <-h.stopped.Done():
			}
			pause.Stop()
		case len(events) == 0:
			cursor = head // The sequence has a gap at its end.
		default:
			cursor = events[len(events)-1].Seq
			h.publish(events)
		}
	}
}

// publish encodes each event once, appends the frames to the windows of the
// matching groups, and wakes waiting subscriptions.
func (h *Hub) publish(events []*event.Event) {
	var (
		touched []*group
		scratch []*group
		encoded []byte
		terms   [9]event.Term
	)
	now := time.Now()
	h.mu.Lock()
	h.batches++
	for _, e := range events {
		h.meters.count(e, now)
		scratch = h.index.match(scratch[:0], e, e.AppendTerms(terms[:0]))
		if len(scratch) == 0 {
			continue
		}
		encoded = AppendEvent(encoded[:0], e)
		f := &frame{seq: e.Seq, data: append(make([]byte, 0, len(encoded)), encoded...), refs: len(scratch)}
		h.bytes += f.size()
		for _, g := range scratch {
			g.append(f)
			h.order.push(g)
			if g.lastBatch != h.batches {
				g.lastBatch = h.batches
				touched = append(touched, g)
			}
		}
		h.evict()
	}
	h.published = events[len(events)-1].Seq
	h.publishedStat.Store(h.published)
	h.mu.Unlock()
	for _, g := range touched {
		g.wakeWaiting()
	}
}

// evict keeps the windows within their limits. The oldest frames go first.
func (h *Hub) evict() {
	for h.order.len() > 0 && (h.bytes > h.opt.WindowBytes || h.order.len() > h.opt.WindowRefs) {
		if f := h.order.pop().drop(); f != nil {
			h.release(f)
		}
	}
}

func (h *Hub) release(f *frame) {
	if f.refs--; f.refs == 0 {
		h.bytes -= f.size()
	}
}

// join adds a subscription to the group of its filter.
func (h *Hub) join(f *event.Filter) (*group, error) {
	clauses, key := canonical(f)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	g := h.groups[key]
	if g == nil {
		g = &group{key: key, filter: *f, clauses: clauses, floor: h.published}
		h.groups[key] = g
		h.index.add(g)
	}
	g.subscribers++
	h.subscribers.Add(1)
	return g, nil
}

// leave removes a subscription from its group. An empty group is removed.
func (h *Hub) leave(g *group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers.Add(-1)
	if g.subscribers--; g.subscribers > 0 {
		return
	}
	delete(h.groups, g.key)
	h.index.remove(g)
	for f := g.drop(); f != nil; f = g.drop() {
		h.release(f)
	}
}

// startRead registers a read of the log that Close waits for. The caller ends
// it with reads.Done.
func (h *Hub) startRead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.reads.Add(1)
	return true
}

// acquireRead waits for permission to read the log for a workspace. It returns
// eventlog.ErrOverloaded if too many callers wait.
func (h *Hub) acquireRead(ctx context.Context, workspace string) (release func(), err error) {
	if h.opt.Bulk == nil {
		return func() {}, nil
	}
	release, err = h.opt.Bulk.Acquire(ctx, workspace)
	switch {
	case err == nil:
		return release, nil
	case h.stopped.Err() != nil:
		return nil, ErrClosed
	case ctx.Err() != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", eventlog.ErrOverloaded, err)
}

// withStop returns a context that ends with ctx or with the hub.
func (h *Hub) withStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.stopped, cancel)
	return ctx, func() { stop(); cancel() }
}

// fifo is a queue of groups.
type fifo struct {
	items []*group
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(g *group) {
	if q.head > 1024 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, g)
}

func (q *fifo) pop() *group {
	g := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	return g
}
