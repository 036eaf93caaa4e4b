package hub

import (
	"context"
	"errors"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Policy is what to do when a client falls behind the live window.
type Policy uint8

const (
	// CatchUp reads the missed events from the log.
	CatchUp Policy = iota
	// Latest skips the missed events, sends a gap event with their number, and
	// continues with the newest event.
	Latest
	// Disconnect ends the subscription with ErrSlow.
	Disconnect
)

// maxLag is how many events a subscription with the policy Latest or Disconnect
// may fall behind, if the window does not end earlier.
const maxLag = 1024

// Errors of a subscription.
var (
	// ErrBehind means that the next events are not in the live window: Fetch
	// reads them from the log.
	ErrBehind = errors.New("behind the live window")
	// ErrSlow means that the client fell behind and its policy is Disconnect.
	ErrSlow = errors.New("reader is too slow")
	// ErrClosed means that the hub was closed.
	ErrClosed = errors.New("hub is closed")
)

// SubscribeOptions configure a subscription.
type SubscribeOptions struct {
	// Filter selects events.
	Filter event.Filter
	// After is the cursor. The subscription delivers matching events after it.
	After  uint64
	Policy Policy
	// Wake is called once after every empty Poll, as soon as there is something
	// to poll. It must not block or call the subscription. A subscription without
	// Wake uses Next.
	Wake func()
}

// Subscription is a filter and a cursor. It has one reader: its methods must
// not be called concurrently.
type Subscription struct {
	hub      *Hub
	group    *group
	cursor   uint64
	position uint64 // The position in the group's window. Valid once joined.
	joined   bool
	// The subscription has received everything up to head, so it can be slow from
	// then on.
	caughtUp bool
	head     uint64 // The head when the subscription caught up.
	behind   bool   // Counted in Hub.behind.
	policy   Policy
	wake     func()
	woken    chan struct{} // Used by Next.
	waitAt   int           // The index in group.waiting, or -1. Guarded by group.mu.
}

// Subscribe creates a subscription. The caller closes it.
func (h *Hub) Subscribe(opt SubscribeOptions) (*Subscription, error) {
	s := &Subscription{hub: h, cursor: opt.After, head: h.log.Head(), policy: opt.Policy, wake: opt.Wake, waitAt: -1}
	if s.wake == nil {
		s.woken = make(chan struct{}, 1)
		s.wake = func() {
			select {
			case s.woken <- struct{}{}:
			default:
			}
		}
	}
	g, err := h.join(&opt.Filter)
	if err != nil {
		return nil, err
	}
	s.group = g
	return s, nil
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.setBehind(false)
	s.group.mu.Lock()
	s.group.removeWaiting(s)
	s.group.mu.Unlock()
	s.hub.leave(s.group)
}

// Cursor returns the sequence number up to which everything was delivered.
func (s *Subscription) Cursor() uint64 { return s.cursor }

// Filter returns the subscription's filter. It is shared and must not be
// changed.
func (s *Subscription) Filter() *event.Filter { return &s.group.filter }

// Policy returns the policy of the subscription.
func (s *Subscription) Policy() Policy { return s.policy }

// Lag returns how far a subscription with this cursor is behind. While the
// cursor is within the window, events is the number of events that follow in
// it. Otherwise beyond is true, and events is the number of sequence numbers up
// to the head of the log, whether they match or not. Unlike the other methods
// it may be called at any time.
func (s *Subscription) Lag(cursor uint64) (events uint64, beyond bool) {
	head := s.hub.log.Head()
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if cursor >= g.floor {
		return g.end() - g.find(cursor), false
	}
	return head - min(head, cursor), true
}

// Batch is what a client is sent in one write. The frames are shared and must
// not be changed. A batch can be reused for other subscriptions.
type Batch struct {
	Frames [][]byte
	// Events is how many of Frames are events of the log.
	Events int
	// Skipped is how many events the gap event in the first frame reports.
	// Expired means that the first frame is a stream_reset.
	Skipped uint64
	Expired bool

	seqs     []uint64 // The cursor after each frame.
	position uint64   // The position of the first frame after leading.
	leading  int      // The number of leading frames that are not in the window.
	// The cursor after all frames, if it is greater than the last one.
	through uint64
	joined  bool
	size    int
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Frames)
	*b = Batch{Frames: b.Frames[:0], seqs: b.seqs[:0]}
}

func (b *Batch) add(data []byte, seq uint64) {
	b.Frames = append(b.Frames, data)
	b.seqs = append(b.seqs, seq)
	b.size += len(data)
}

// Poll fills the batch with frames that are ready, about size bytes and at
// least one frame. It does not wait. If nothing is ready, the batch is empty
// and Wake will be called. ErrBehind asks for Fetch. The caller reports written
// frames with Advance; the other frames are delivered again.
func (s *Subscription) Poll(b *Batch, size int) error {
	b.Reset()
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	s.caughtUp = s.caughtUp || s.cursor >= s.head
	if s.joined && s.position < g.base && (s.policy == CatchUp || !s.caughtUp) {
		s.joined = false
	}
	if !s.joined {
		if s.cursor < g.floor {
			s.setBehind(true)
			return ErrBehind
		}
		s.position, s.joined = g.find(s.cursor), true
		s.setBehind(false)
	}
	start := max(s.position, g.base)
	for start < g.end() && g.frames[start-g.base].seq <= s.cursor {
		// Fetch has read beyond what the hub has published.
		start++
		s.position = start
	}
	if s.caughtUp && s.policy != CatchUp && (s.position < g.base || g.end()-s.position > maxLag) {
		if s.policy == Disconnect {
			return ErrSlow
		}
		through := g.floor
		if len(g.frames) > 0 {
			start = g.end() - 1
		}
		if start > g.base {
			through = g.frames[start-g.base-1].seq
		}
		b.Skipped = start - s.position
		b.add(appendGap(nil, b.Skipped, s.cursor, through), through)
		b.leading = 1
	}
	b.position, b.joined = start, true
	for i := start - g.base; i < uint64(len(g.frames)) && (b.size < size || b.Events == 0); i++ {
		b.add(g.frames[i].data, g.frames[i].seq)
		b.Events++
	}
	if len(b.Frames) == 0 {
		s.caughtUp = true
		g.addWaiting(s)
	}
	return nil
}

// Pending reports whether Poll would find something. If not, Wake will be
// called.
func (s *Subscription) Pending() bool {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || !s.joined || s.position < g.end() {
		return true
	}
	s.caughtUp = true
	g.addWaiting(s)
	return false
}

// Advance records that the first n frames of the last batch were written. The
// other frames are delivered again.
func (s *Subscription) Advance(b *Batch, n int) {
	if n > 0 {
		s.cursor = b.seqs[n-1]
	}
	if n == len(b.Frames) && b.through > s.cursor {
		s.cursor = b.through
	}
	if b.joined && n >= b.leading && n > 0 {
		s.position = b.position + uint64(n-b.leading)
	}
	if delivered := n - b.leading; delivered > 0 {
		s.hub.delivered.Add(uint64(delivered))
	}
}

// Limits of one Fetch.
const (
	fetchEvents = 512
	// eventBytes is the usual size of an event on a stream.
	eventBytes = 256
	// scanDistance is the distance from the head within which a filtered
	// subscription scans the log, which is mostly in memory, and does not use the
	// index.
	scanDistance = 4096
)

// Fetch fills the batch from the log with about size bytes. An empty batch
// without an error is progress too: the caller calls Advance and polls again.
func (s *Subscription) Fetch(ctx context.Context, b *Batch, size int) error {
	b.Reset()
	h := s.hub
	if !h.startRead() {
		return ErrClosed
	}
	defer h.reads.Done()
	ctx, cancel := h.withStop(ctx)
	defer cancel()

	bounds, err := h.log.Bounds(ctx)
	if err != nil {
		return err
	}
	if first := bounds.First; s.cursor+1 < first {
		// Retention removed events that this client has not read.
		b.add(AppendReset(nil, ResetExpired, first-1), first-1)
		b.leading, b.Expired = 1, true
		return nil
	}
	g := s.group
	release, err := h.acquireRead(ctx, g.filter.WorkspaceID)
	if err != nil {
		return err
	}
	defer release()
	head := h.log.Head()
	if len(g.clauses) > 0 && head > s.cursor+h.scanDistance {
		return s.fetchIndexed(ctx, b, size, head)
	}
	events, err := h.log.Read(ctx, s.cursor, fetchLimit(size))
	if err != nil {
		return err
	}
	b.through = head // If no event is left, everything up to head was delivered.
	if len(events) > 0 {
		b.through = s.cursor
	}
	var terms [9]event.Term
	for _, e := range events {
		if b.size >= size {
			break
		}
		b.through = e.Seq
		if g.matchesAll(e, e.AppendTerms(terms[:0])) {
			b.add(AppendEvent(make([]byte, 0, 512), e), e.Seq)
			b.Events++
		}
	}
	return nil
}

// fetchLimit returns how many events to read for size bytes.
func fetchLimit(size int) int { return min(fetchEvents, 1+size/eventBytes) }

// fetchIndexed reads through the indexes of the log, for a filtered
// subscription that is far from the head.
func (s *Subscription) fetchIndexed(ctx context.Context, b *Batch, size int, head uint64) error {
	page, err := s.hub.log.Query(ctx, storage.Query{
		Filter: s.group.filter, Ascending: true, After: s.cursor, Limit: fetchLimit(size),
	})
	if err != nil {
		return err
	}
	if b.through = page.Next; page.Next == 0 {
		b.through = head // The query listed everything up to head.
	}
	for _, e := range page.Events {
		if b.size >= size {
			b.through = b.seqs[len(b.seqs)-1]
			break
		}
		b.add(AppendEvent(make([]byte, 0, 512), e), e.Seq)
		b.Events++
	}
	return nil
}

// Next waits for frames and returns them. It is for subscriptions without Wake.
func (s *Subscription) Next(ctx context.Context, b *Batch, size int) error {
	for {
		err := s.Poll(b, size)
		if errors.Is(err, ErrBehind) {
			if err = s.Fetch(ctx, b, size); err == nil && len(b.Frames) == 0 {
				s.Advance(b, 0)
				continue
			}
		}
		if err != nil || len(b.Frames) > 0 {
			return err
		}
		select {
		case <-s.woken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Subscription) setBehind(behind bool) {
	if s.behind == behind {
		return
	}
	s.behind = behind
	if behind {
		s.hub.behind.Add(1)
	} else {
		s.hub.behind.Add(-1)
	}
}
