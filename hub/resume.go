package hub

import (
	"context"
	"fmt"
	"slices"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
)

// Reasons of a stream_reset.
const (
	// ResetUnknown: the id is none that this log gives.
	ResetUnknown = "unknown_id"
	// ResetExpired: retention has forgotten what came after the id.
	ResetExpired = "expired"
	// ResetBeyond: the id is newer than anything in the log, or was when the log
	// was restored from a backup.
	ResetBeyond = "beyond_head"
)

// MaxHistory bounds History.
const MaxHistory = 1000

// historyEvents is how many events History reads in one turn.
const historyEvents = 256

// Resume turns the id that a client saw last into a cursor. An id that is not in
// the log is no error: the cursor is then the head, or with floor the beginning
// of the log, and reset says why.
func (h *Hub) Resume(ctx context.Context, id string, floor bool) (after uint64, reset string, err error) {
	if !h.reading() {
		return 0, "", ErrClosed
	}
	defer h.readers.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()
	bounds, err := h.log.Bounds(ctx)
	if err != nil {
		return 0, "", err
	}
	first, head := bounds.First, h.log.Head()
	seq, err := event.ParseID(id)
	switch {
	case err != nil:
		reset = ResetUnknown
	case seq > head, skipped(bounds, seq) != nil:
		// Newer than anything that the log held, if only when it was restored:
		// what came after it in the log that was lost is none of this one's.
		reset = ResetBeyond
	case seq+1 < first:
		reset = ResetExpired
	default:
		return seq, "", nil
	}
	if floor {
		return max(first, 1) - 1, reset, nil
	}
	if r := skipped(bounds, head); r != nil {
		head = r.First - 1 // nothing came since, and this id can be resumed from
	}
	return head, reset, nil
}

// skipped is the range that holds the id and that the log left out when it was
// restored, or nil.
func skipped(b storage.Bounds, seq uint64) *storage.Range {
	for i, r := range b.Skipped {
		if r.First <= seq && seq <= r.Last {
			return &b.Skipped[i]
		}
	}
	return nil
}

// Head is where a subscriber begins who wants only what comes.
func (h *Hub) Head() uint64 { return h.log.Head() }

// History returns the newest n events that match, oldest first, as frames, and
// the cursor that goes on after them. Once the frames went out, or are not needed
// any more, Written has to be told.
func (h *Hub) History(ctx context.Context, f event.Filter, n int) (frames [][]byte, after uint64, err error) {
	if !h.reading() {
		return nil, 0, ErrClosed
	}
	defer h.readers.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()
	after = h.log.Head()
	q := storage.Query{Filter: f}
	for left := min(n, MaxHistory); left > 0; {
		q.Limit = min(left, historyEvents)
		page, newest, next, err := h.historyPage(ctx, q)
		if err != nil {
			h.Written(f.WorkspaceID, frames)
			return nil, 0, err
		}
		// What came since the head was noted was committed in its order.
		after = max(after, newest)
		frames = append(frames, page...)
		if next == 0 {
			break
		}
		left, q.After = left-len(page), next
	}
	slices.Reverse(frames)
	h.delivered.Add(uint64(len(frames)))
	return frames, after, nil
}

// historyPage reads and encodes a page in one turn. It tells the newest event of
// the page, and where the next one begins.
func (h *Hub) historyPage(ctx context.Context, q storage.Query) (frames [][]byte, newest, next uint64, err error) {
	release, err := h.turn(ctx, q.Filter.WorkspaceID)
	if err != nil {
		return nil, 0, 0, err
	}
	defer release()
	page, err := h.log.Query(ctx, q)
	if err != nil {
		return nil, 0, 0, err
	}
	var size int64
	for _, e := range page.Events {
		newest = max(newest, e.Seq)
		frames = append(frames, AppendEvent(make([]byte, 0, 512), e))
		size += int64(cap(frames[len(frames)-1]))
	}
	if h.opt.Answers != nil && size > 0 && !h.opt.Answers.Take(q.Filter.WorkspaceID, size) {
		return nil, 0, 0, fmt.Errorf("%w: no memory for a history", eventlog.ErrOverloaded)
	}
	return frames, newest, page.Next, nil
}

// Written gives back the room of frames that History returned, by a filter of that
// workspace.
func (h *Hub) Written(workspace string, history [][]byte) {
	var size int64
	for _, f := range history {
		size += int64(cap(f))
	}
	if h.opt.Answers != nil {
		h.opt.Answers.Release(workspace, size)
	}
}
