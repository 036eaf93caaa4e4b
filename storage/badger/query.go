package badger

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// What one page may cost beyond what it returns: events that were read and did
// not fit, and buckets in which nothing was found. A page that spends it ends
// early, with Next set to where it got.
const (
	queryEvents  = 8192
	queryBuckets = 8192
)

// Query implements storage.Store.
func (s *Store) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := s.gate.enter(ctx); err != nil {
		return storage.Page{}, err
	}
	defer s.gate.leave()
	projected := s.projected.Load() // before the snapshot, which has at least that
	txn, bounds := s.view()
	defer txn.Discard()

	lo, hi := max(1, bounds.First), min(projected, bounds.Last)
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
	qy := querying{q: q, lo: lo, hi: hi, limit: max(1, q.Limit), walk: newWalk(txn, &q.Filter, q.Ascending), blocks: newBlocks(txn)}
	defer qy.walk.close()
	defer qy.blocks.close()
	if err := qy.run(func() error { return s.interrupted(ctx) }); err != nil {
		return storage.Page{}, fmt.Errorf("query: %w", err)
	}
	return qy.page, nil
}

// querying is one Query.
type querying struct {
	q      storage.Query
	lo, hi uint64
	limit  int
	walk   *walk
	blocks *blocks
	page   storage.Page
	seen   int
}

func (q *querying) run(interrupted func() error) error {
	b, end := bucketOf(q.hi), bucketOf(q.lo)
	if q.q.Ascending {
		b, end = end, b
	}
	for {
		if err := interrupted(); err != nil {
			return err
		}
		bucket, found, ok, err := q.walk.next(b)
		if err != nil {
			return err
		}
		if !ok || q.walk.before(end, bucket) {
			return nil
		}
		base := bucket << bucketBits
		if q.walk.steps >= queryBuckets {
			q.page.Next = base + bucketSize
			if q.q.Ascending {
				q.page.Next = base - 1
			}
			return nil
		}
		q.walk.steps++
		found.keep(max(q.lo, base)-base, min(q.hi, base|(bucketSize-1))-base)
		if full, err := q.collect(base, &found); err != nil || full {
			return err
		}
		if bucket == end {
			return nil
		}
		b = bucket - 1
		if q.q.Ascending {
			b = bucket + 1
		}
	}
}

// collect adds the bucket's events to the page; full means that the page has its
// end.
func (q *querying) collect(base uint64, found *bitmap) (full bool, err error) {
	for {
		n, ok := found.take(q.q.Ascending)
		if !ok {
			return false, nil
		}
		seq := base + n
		if q.seen++; q.seen > queryEvents+q.limit {
			// The one before it was the last that was looked at.
			q.page.Next = seq - 1
			if !q.q.Ascending {
				q.page.Next = seq + 1
			}
			return true, nil
		}
		e, err := q.read(seq)
		if err != nil {
			return false, err
		}
		if e == nil {
			continue
		}
		if len(q.page.Events) == q.limit {
			q.page.Next = q.page.Events[q.limit-1].Seq
			return true, nil
		}
		q.page.Events = append(q.page.Events, e)
	}
}

// read returns the event if it is there and in the time asked for. The index
// decides the rest; that the workspace is right is checked here once more.
func (q *querying) read(seq uint64) (*event.Event, error) {
	ok, err := q.blocks.find(seq)
	if err != nil || !ok {
		return nil, err
	}
	e, err := q.blocks.event(int(seq - q.blocks.block.first))
	if err != nil {
		return nil, err
	}
	f := &q.q.Filter
	switch {
	case f.WorkspaceID != "" && e.WorkspaceID != f.WorkspaceID:
		return nil, fmt.Errorf("%w: event %d is indexed under another workspace", event.ErrCorrupt, seq)
	case !f.Since.IsZero() && e.ReceivedAt.Before(f.Since), !f.Until.IsZero() && e.ReceivedAt.After(f.Until):
		return nil, nil
	}
	return e, nil
}

// nanoRange is the time that the filter asks for in Unix nanoseconds, which are
// what buckets know. A date outside of what they can say is no bound at all.
func nanoRange(f *event.Filter) (since, until int64) {
	since, until = math.MinInt64, math.MaxInt64
	first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)
	if !f.Since.IsZero() && f.Since.After(first) {
		since = math.MaxInt64
		if f.Since.Before(last) {
			since = f.Since.UnixNano()
		}
	}
	if !f.Until.IsZero() && f.Until.Before(last) {
		until = math.MinInt64
		if f.Until.After(first) {
			until = f.Until.UnixNano()
		}
	}
	return since, until
}
