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
	// ResetUnknown: the log never gave out the id.
	ResetUnknown = "unknown_id"
	// ResetExpired: retention has removed events that came after the id.
	ResetExpired = "expired"
	// ResetBeyond: the id is newer than the last event of the log, or was when
	// the log was restored from a backup.
	ResetBeyond = "beyond_head"
)

// MaxHistory is the most events that History returns.
const MaxHistory = 1000

// historyEvents is how many events History reads with one permission of the
// limiter.
const historyEvents = 256

// Resume converts the last id that a client saw to a cursor. If the log does
// not hold the id, reset is the reason and the cursor is the head, or with
// floor the beginning of the log.
func (h *Hub) Resume(ctx context.Context, id string, floor bool) (after uint64, reset string, err error) {
	if !h.startRead() {
		return 0, "", ErrClosed
	}
	defer h.reads.Done()
	ctx, cancel := h.withStop(ctx)
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
		// The id is newer than the log was when it was restored. What the client
		// missed was in the log that was lost.
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
		head = r.First - 1 // Nothing was committed since. This id can be resumed from.
	}
	return head, reset, nil
}

// skipped returns the range of skipped sequence numbers that holds the id, or
// nil.
func skipped(b storage.Bounds, seq uint64) *storage.Range {
	for i, r := range b.Skipped {
		if r.First <= seq && seq <= r.Last {
			return &b.Skipped[i]
		}
	}
	return nil
}

// Head returns the cursor of a subscriber that wants new events only.
func (h *Hub) Head() uint64 { return h.log.Head() }

// History returns the newest n matching events as frames, oldest first, and the
// cursor after them. The caller calls ReleaseHistory when the frames are
// written or not needed.
func (h *Hub) History(ctx context.Context, f event.Filter, n int) (frames [][]byte, after uint64, err error) {
	if !h.startRead() {
		return nil, 0, ErrClosed
	}
	defer h.reads.Done()
	ctx, cancel := h.withStop(ctx)
	defer cancel()
	after = h.log.Head()
	q := storage.Query{Filter: f}
	for left := min(n, MaxHistory); left > 0; {
		q.Limit = min(left, historyEvents)
		page, newest, next, err := h.historyPage(ctx, q)
		if err != nil {
			h.ReleaseHistory(f.WorkspaceID, frames)
			return nil, 0, err
		}
		// Events that were committed after the head was read follow the cursor.
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

// historyPage reads and encodes one page. It returns the newest event of the
// page, and where the next page begins.
func (h *Hub) historyPage(ctx context.Context, q storage.Query) (frames [][]byte, newest, next uint64, err error) {
	release, err := h.acquireRead(ctx, q.Filter.WorkspaceID)
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
	if h.opt.HistoryMemory != nil && size > 0 && !h.opt.HistoryMemory.Acquire(q.Filter.WorkspaceID, size) {
		return nil, 0, 0, fmt.Errorf("%w: no memory for a history", eventlog.ErrOverloaded)
	}
	return frames, newest, page.Next, nil
}

// ReleaseHistory releases the memory of frames that History returned for a
// filter of that workspace.
func (h *Hub) ReleaseHistory(workspace string, history [][]byte) {
	var size int64
	for _, f := range history {
		size += int64(cap(f))
	}
	if h.opt.HistoryMemory != nil {
		h.opt.HistoryMemory.Release(workspace, size)
	}
}
