package segment

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// Limits of the work for one page, in addition to the events that it returns:
// events that were read and did not match, and segments that were visited. A
// page that reaches a limit ends early, with Next set to where it stopped.
const (
	queryEvents   = 8192
	querySegments = 2048
)

// Query lists events: see storage.Store. A RebuildError means that a term table
// that it needs is being rebuilt.
func (l *Log) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	if l.closed.Load() {
		return storage.Page{}, storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	return v.Query(ctx, q)
}

// Query lists events of the view: see Log.Query.
func (v *View) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	lo, hi := max(1, v.Floor), v.Last
	switch {
	case q.After == 0:
	case q.Ascending && q.After == math.MaxUint64:
		return storage.Page{}, nil
	case q.Ascending:
		lo = max(lo, q.After+1)
	default:
		hi = min(hi, q.After-1)
	}
	if lo > hi {
		return storage.Page{}, nil
	}
	qy := queryRun{v: v, q: &q, lo: lo, hi: hi, limit: max(1, q.Limit), since: math.MinInt64, until: noTime}
	if !q.Filter.Since.IsZero() {
		qy.since, qy.dated = unixNano(q.Filter.Since), true
	}
	if !q.Filter.Until.IsZero() {
		qy.until, qy.dated = unixNano(q.Filter.Until), true
	}
	if err := qy.run(ctx); err != nil {
		return storage.Page{}, fmt.Errorf("query: %w", err)
	}
	return qy.page, nil
}

// queryRun is one query over the events from lo to hi.
type queryRun struct {
	v            *View
	q            *storage.Query
	lo, hi       uint64
	limit        int
	since, until int64
	dated        bool
	page         storage.Page
	cost         int
}

func (q *queryRun) run(ctx context.Context) error {
	segs := q.v.v.segs
	first, last := q.v.v.from(q.lo), min(q.v.v.from(q.hi), len(segs)-1)
	for n := 0; n <= last-first; n++ {
		seg := segs[last-n]
		if q.q.Ascending {
			seg = segs[first+n]
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n == querySegments {
			q.page.Next = seg.end()
			if q.q.Ascending {
				q.page.Next = seg.base - 1
			}
			return nil
		}
		full, err := q.segment(ctx, seg)
		switch {
		case isSkippable(err):
		case err != nil || full:
			return err
		}
	}
	return nil
}

// segment adds the events of one segment to the page. full means that the page
// is complete.
func (q *queryRun) segment(ctx context.Context, seg *segment) (full bool, err error) {
	from, to := max(q.lo, seg.base), min(q.hi+1, seg.end())
	if from >= to {
		return false, nil
	}
	if _, gone := seg.content.(*lost); gone {
		return false, nil
	}
	found, err := q.candidates(seg)
	if err != nil {
		return false, err
	}
	found = found.KeepRange(int(from-seg.base), int(to-seg.base))
	c := seg.cursor()
	at := 0
	if !q.q.Ascending {
		at = maxEvents - 1
	}
	for at >= 0 {
		pos, ok := q.next(found, at)
		if !ok {
			return false, nil
		}
		seq := seg.base + uint64(pos)
		if q.cost++; q.cost > queryEvents+q.limit {
			// The previous position was the last one that was visited.
			q.page.Next = seq - 1
			if !q.q.Ascending {
				q.page.Next = seq + 1
			}
			return true, nil
		}
		if q.cost%256 == 0 {
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
		e, err := c.event(int(pos))
		at = q.resumeAfter(int(pos), int(pos))
		var d *storage.DamageError
		switch {
		case errors.As(err, &d): // Skip this event and all others that cannot be read for the same reason.
			at = q.resumeAfter(int(max(d.First, seg.base)-seg.base), int(d.Last-seg.base))
			continue
		case err != nil:
			return false, err
		case !q.q.Filter.Matches(e):
			continue
		case len(q.page.Events) == q.limit:
			q.page.Next = q.page.Events[q.limit-1].Seq
			return true, nil
		}
		q.page.Events = append(q.page.Events, e)
	}
	return false, nil
}

// candidates returns the positions that the segment's tables select. The times
// come first: they are cheaper than the terms and rule out most segments.
func (q *queryRun) candidates(seg *segment) (index.Set, error) {
	count := min(seg.count(), maxEvents)
	window := index.RangeSet(0, count)
	if q.dated {
		var err error
		if window, err = seg.receivedBetween(q.since, q.until); err != nil || window.Empty() {
			return index.Set{}, err
		}
	}
	terms, err := seg.terms()
	if err != nil {
		return index.Set{}, err
	}
	found, err := index.Evaluate(terms, q.v.log.seed, &q.q.Filter, count)
	if err != nil || !q.dated {
		return found, err
	}
	return found.And(window), nil
}

// next returns the next position of the set in the order of the query, starting
// at at.
func (q *queryRun) next(found index.Set, at int) (uint16, bool) {
	if q.q.Ascending {
		return found.Next(at)
	}
	return found.Prev(at)
}

// resumeAfter returns where to continue after the positions from first to last.
func (q *queryRun) resumeAfter(first, last int) int {
	if q.q.Ascending {
		return last + 1
	}
	return first - 1
}
