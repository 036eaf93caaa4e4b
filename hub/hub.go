// Package hub fans the event log out to live subscribers. It follows the log:
// the log is the truth, the hub only a wake-up and a window of encoded frames
// that everyone shares. What is not in the window any more is read from the log,
// so a slow reader holds nobody up, costs no queue of its own and loses nothing.
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

// readEvents is how many events the follower takes at once.
const readEvents = 256

// Options of a hub.
type Options struct {
	// WindowBytes bounds the encoded frames that all filters together hold.
	WindowBytes int
	// WindowRefs bounds the places in all windows together: a frame stands in
	// the window of every filter that it matches.
	WindowRefs int
	// Bulk is what Fetch and History take turns by, one for each read of the
	// log, with the filter's workspace as the key. Without it they do not wait.
	Bulk Limiter
	// Answers bounds the frames that History returned and that are not Written
	// yet. Without it they have no bound.
	Answers Room
	Logger  *zap.Logger
}

// Limiter gives turns to callers that read in bulk.
type Limiter interface {
	// Acquire waits for a turn; release ends it.
	Acquire(ctx context.Context, key string) (release func(), err error)
}

// Room is memory, in bytes, of which there is only so much.
type Room interface {
	// Take reports whether there is room for n more bytes of an owner's.
	Take(owner string, n int64) bool
	Release(owner string, n int64)
}

// Hub fans out the log.
type Hub struct {
	log *eventlog.Log
	opt Options

	scanWithin uint64 // other than its constant for tests

	mu        sync.Mutex
	index     index
	groups    map[string]*group
	published uint64 // every event up to it has been handed to its groups
	bytes     int    // of the frames in all windows
	order     fifo   // groups in the order of their appends, for eviction
	meters    meters
	batches   uint64
	closed    bool

	readers sync.WaitGroup // under way in the log
	stopped context.Context
	cancel  context.CancelFunc
	done    chan struct{}

	behind      atomic.Int64
	delivered   atomic.Uint64
	subscribers atomic.Int64
	shown       atomic.Uint64 // published, for Stats
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
	h := &Hub{log: log, opt: opt, scanWithin: scanWithin, groups: make(map[string]*group), done: make(chan struct{})}
	h.published = log.Head()
	h.shown.Store(h.published)
	h.meters.start = time.Now()
	h.stopped, h.cancel = context.WithCancel(context.Background())
	go h.follow()
	return h
}

// Close ends every subscription and waits until nothing of the hub reads the log
// any more. It may be called more than once.
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
		g.wake()
	}
	h.readers.Wait()
}

// Stats of a hub.
type Stats struct {
	// Subscriptions are open, Behind of them reading from the log, and they
	// have Filters different filters.
	Subscriptions, Behind, Filters int
	// Delivered counts events handed out, one for each who got it.
	Delivered uint64
	// Lag is how many sequence numbers the hub is behind the log.
	Lag uint64
	// WindowBytes is what the shared frames take.
	WindowBytes int
}

// Stats tells how the hub stands.
func (h *Hub) Stats() Stats {
	head, shown := h.log.Head(), h.shown.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{
		Subscriptions: int(h.subscribers.Load()), Behind: int(h.behind.Load()), Filters: len(h.groups),
		Delivered: h.delivered.Load(), Lag: head - min(head, shown), WindowBytes: h.bytes,
	}
}

// follow hands the log to the groups, event by event in its order.
func (h *Hub) follow() {
	defer close(h.done)
	cursor := h.published
	for {
		head, err := h.log.Wait(h.stopped, cursor)
		if err != nil {
			return // the hub or the log was closed
		}
		events, err := h.log.Read(h.stopped, cursor, readEvents)
		switch {
		case h.stopped.Err() != nil || errors.Is(err, eventlog.ErrClosed):
			return
		case err != nil:
			// The log is being reopened; nothing is lost, only later.
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
			cursor = head // a hole at the end
		default:
			cursor = events[len(events)-1].Seq
			h.publish(events)
		}
	}
}

// publish appends the events to the windows they belong to, encoding each once,
// and wakes whom they concern.
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
			if g.batch != h.batches {
				g.batch = h.batches
				touched = append(touched, g)
			}
		}
		h.evict()
	}
	h.published = events[len(events)-1].Seq
	h.shown.Store(h.published)
	h.mu.Unlock()
	for _, g := range touched {
		g.wake()
	}
}

// evict keeps the windows within their bounds, oldest frames first.
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

// join returns the group of the filter with one more member.
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
	g.members++
	h.subscribers.Add(1)
	return g, nil
}

// leave takes a member from the group. A group without members is forgotten.
func (h *Hub) leave(g *group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers.Add(-1)
	if g.members--; g.members > 0 {
		return
	}
	delete(h.groups, g.key)
	h.index.remove(g)
	for f := g.drop(); f != nil; f = g.drop() {
		h.release(f)
	}
}

// reading marks a read of the log that Close has to wait for; readers.Done ends it.
func (h *Hub) reading() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.readers.Add(1)
	return true
}

// turn waits until the log may be read for a workspace. That too many wait is
// eventlog.ErrOverloaded: come again.
func (h *Hub) turn(ctx context.Context, workspace string) (release func(), err error) {
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

// within is ctx that ends with the hub as well.
func (h *Hub) within(ctx context.Context) (context.Context, context.CancelFunc) {
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
