package hub

import (
	"context"
	"errors"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Policy says what becomes of a reader that falls behind the live window.
type Policy uint8

const (
	// CatchUp reads what was missed from the log.
	CatchUp Policy = iota
	// Latest skips what was missed, says how much with a gap event and goes on
	// with the newest event.
	Latest
	// Disconnect ends the subscription with ErrSlow.
	Disconnect
)

// slowAfter is how many events Latest and Disconnect let a reader fall behind,
// if the window does not end earlier.
const slowAfter = 1024

// Errors of a subscription.
var (
	// ErrBehind: what comes next is not in the live window any more, or not
	// yet: Fetch it from the log.
	ErrBehind = errors.New("behind the live window")
	// ErrSlow: the reader fell behind and its policy is Disconnect.
	ErrSlow = errors.New("reader is too slow")
	// ErrClosed: the hub was closed.
	ErrClosed = errors.New("hub is closed")
)

// SubscribeOptions say what a subscriber gets.
type SubscribeOptions struct {
	// Filter selects events.
	Filter event.Filter
	// After is the cursor: the subscription delivers what matches beyond it.
	After  uint64
	Policy Policy
	// Wake is called once after every Poll that came back empty, as soon as
	// there is something to poll. It must not block nor call the subscription.
	// Without it use Next.
	Wake func()
}

// Subscription is a filter and a cursor. It has one reader: its methods must not
// be called at once from several goroutines.
type Subscription struct {
	hub    *Hub
	group  *group
	cursor uint64
	place  uint64 // in the group's window; valid once joined
	joined bool
	live   bool   // had everything once: from here on it can be slow
	head   uint64 // where that was
	behind bool   // counted as behind
	policy Policy
	wake   func()
	woken  chan struct{} // of Next
	waitAt int           // index in group.waiting or -1; guarded by group.mu
}

// Subscribe begins a subscription. Close it.
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
	s.group.unwait(s)
	s.group.mu.Unlock()
	s.hub.leave(s.group)
}

// Cursor is the place in the log up to which everything was taken.
func (s *Subscription) Cursor() uint64 { return s.cursor }

// Filter is what the subscription selects. It is shared and must not be changed.
func (s *Subscription) Filter() *event.Filter { return &s.group.filter }

// Policy is the one that the subscription was made with.
func (s *Subscription) Policy() Policy { return s.policy }

// Lag tells how far a subscription is behind that has taken everything up to the
// cursor: how many events it has yet to get of those in the window, or, once it
// is beyond that, how many sequence numbers there are up to the head of the log,
// whether they match or not. Other than the rest it may be called at any time.
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

// Batch is what a reader writes in one go. The frames are shared and must not be
// changed. It may be used for many subscriptions, one after the other.
type Batch struct {
	Frames [][]byte
	// Events is how many of Frames are events of the log.
	Events int
	// Skipped is how many events the first frame says were left out (it is a
	// gap), and Expired that it is a stream_reset.
	Skipped uint64
	Expired bool

	seqs    []uint64 // the cursor after each frame
	place   uint64   // of the first frame after lead
	lead    int      // frames that do not stand in the window
	through uint64   // the cursor after all of them, if it is beyond the last
	joined  bool
	size    int
}

// Reset empties the batch without letting go of its memory.
func (b *Batch) Reset() {
	clear(b.Frames)
	*b = Batch{Frames: b.Frames[:0], seqs: b.seqs[:0]}
}

func (b *Batch) add(data []byte, seq uint64) {
	b.Frames = append(b.Frames, data)
	b.seqs = append(b.seqs, seq)
	b.size += len(data)
}

// Poll fills the batch with what is ready, about size bytes of it and one frame
// at least, without waiting. With nothing ready it leaves the batch empty and
// Wake will be called. ErrBehind asks for Fetch. What was written has to be
// told with Advance; the rest comes again.
func (s *Subscription) Poll(b *Batch, size int) error {
	b.Reset()
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	s.live = s.live || s.cursor >= s.head
	if s.joined && s.place < g.base && (s.policy == CatchUp || !s.live) {
		s.joined = false
	}
	if !s.joined {
		if s.cursor < g.floor {
			s.setBehind(true)
			return ErrBehind
		}
		s.place, s.joined = g.find(s.cursor), true
		s.setBehind(false)
	}
	start := max(s.place, g.base)
	for start < g.end() && g.frames[start-g.base].seq <= s.cursor {
		// The log was read further than the hub had come.
		start++
		s.place = start
	}
	if s.live && s.policy != CatchUp && (s.place < g.base || g.end()-s.place > slowAfter) {
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
		b.Skipped = start - s.place
		b.add(appendGap(nil, b.Skipped, s.cursor, through), through)
		b.lead = 1
	}
	b.place, b.joined = start, true
	for i := start - g.base; i < uint64(len(g.frames)) && (b.size < size || b.Events == 0); i++ {
		b.add(g.frames[i].data, g.frames[i].seq)
		b.Events++
	}
	if len(b.Frames) == 0 {
		s.live = true
		g.wait(s)
	}
	return nil
}

// Pending reports whether Poll would find something; if not, Wake will be called.
func (s *Subscription) Pending() bool {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || !s.joined || s.place < g.end() {
		return true
	}
	s.live = true
	g.wait(s)
	return false
}

// Advance says that the first n frames of the last batch are on their way, and
// what is left of it comes again.
func (s *Subscription) Advance(b *Batch, n int) {
	if n > 0 {
		s.cursor = b.seqs[n-1]
	}
	if n == len(b.Frames) && b.through > s.cursor {
		s.cursor = b.through
	}
	if b.joined && n >= b.lead && n > 0 {
		s.place = b.place + uint64(n-b.lead)
	}
	if delivered := n - b.lead; delivered > 0 {
		s.hub.delivered.Add(uint64(delivered))
	}
}

// What one Fetch takes from the log.
const (
	fetchEvents = 512
	// eventBytes is about what an event takes on a stream.
	eventBytes = 256
	// scanWithin is how far from the head a filtered subscription reads the log
	// itself, most of which is in memory, and not the index.
	scanWithin = 4096
)

// Fetch fills the batch from the log, with about size bytes. An empty batch
// without an error is progress too: Advance, then Poll again.
func (s *Subscription) Fetch(ctx context.Context, b *Batch, size int) error {
	b.Reset()
	h := s.hub
	if !h.reading() {
		return ErrClosed
	}
	defer h.readers.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()

	bounds, err := h.log.Bounds(ctx)
	if err != nil {
		return err
	}
	if first := bounds.First; s.cursor+1 < first {
		// Retention was faster than this reader.
		b.add(AppendReset(nil, ResetExpired, first-1), first-1)
		b.lead, b.Expired = 1, true
		return nil
	}
	g := s.group
	release, err := h.turn(ctx, g.filter.WorkspaceID)
	if err != nil {
		return err
	}
	defer release()
	head := h.log.Head()
	if len(g.clauses) > 0 && head > s.cursor+h.scanWithin {
		return s.fetchIndexed(ctx, b, size, head)
	}
	events, err := h.log.Read(ctx, s.cursor, fetchLimit(size))
	if err != nil {
		return err
	}
	b.through = head // nothing is left if the log came back empty
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

// fetchLimit is how many events to read for size bytes.
func fetchLimit(size int) int { return min(fetchEvents, 1+size/eventBytes) }

// fetchIndexed reads through the log's indexes, for a filter far from the head
// that was seen before.
func (s *Subscription) fetchIndexed(ctx context.Context, b *Batch, size int, head uint64) error {
	page, err := s.hub.log.Query(ctx, storage.Query{
		Filter: s.group.filter, Ascending: true, After: s.cursor, Limit: fetchLimit(size),
	})
	if err != nil {
		return err
	}
	if b.through = page.Next; page.Next == 0 {
		b.through = head // whatever was committed by then was listed
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

// Next waits for frames, from wherever they come. It is for readers without Wake.
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
