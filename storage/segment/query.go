package segment

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// What one page may cost beyond what it returns: events that were read and did
// not fit, and segments that were looked at. A page that spends it ends early,
// with Next set to where it got.
const (
	queryEvents   = 8192
	querySegments = 2048
)

// Query lists events: see storage.Store. A RebuildError says that a term table
// that it needs is being made anew.
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

// queryRun is one Query of the events from lo to hi.
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

// segment adds the events of one segment to the page; full means that the page
// has its end.
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
			// The one before it was the last that was looked at.
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
		case errors.As(err, &d): // left out, and all that cannot be read with it
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

// candidates are the positions that the segment's tables know. What is known of the
// times costs less than the terms and rules most segments out, so it comes first.
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

// next is the first position of the set from at on, in the order of the query.
func (q *queryRun) next(found index.Set, at int) (uint16, bool) {
	if q.q.Ascending {
		return found.Next(at)
	}
	return found.Prev(at)
}

// resumeAfter is where to go on after positions from first to last.
func (q *queryRun) resumeAfter(first, last int) int {
	if q.q.Ascending {
		return last + 1
	}
	return first - 1
}
