package sealed

import (
	"context"
	"math"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// PositionsReceived returns the positions of all blocks that may hold events
// received in [since, until]. A zero time is no bound. The caller checks the
// time of each event.
func (s *Reader) PositionsReceived(since, until time.Time) index.Set {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !since.IsZero() {
		from = nanos(since)
	}
	if !until.IsZero() {
		to = nanos(until)
	}
	var out index.Set
	for i := 0; i < len(s.blocks); i++ {
		first := s.blocks[i].first
		// Consecutive blocks are added as one range.
		n := i
		for n < len(s.blocks) && s.blocks[n].times.received.max >= from && s.blocks[n].times.received.min <= to {
			n++
		}
		if n > i {
			out = out.Or(index.RangeSet(first, s.blocks[n-1].next()))
			i = n
		}
	}
	return out
}

// LoggedBefore returns the position after the last event that was committed
// before t, or 0. It reads at most one block, unless blocks are damaged. A
// damaged block counts only if all of its events are older, or a later event
// is.
func (s *Reader) LoggedBefore(t time.Time) (int, error) {
	limit := nanos(t)
	c := s.borrow()
	defer c.putBack()
	for i := len(s.blocks) - 1; i >= 0; i-- {
		b := &s.blocks[i]
		switch {
		case b.times.logged.max < limit:
			return b.next(), nil
		case b.times.logged.min >= limit:
			continue
		}
		for pos := b.next() - 1; pos >= b.first; pos-- {
			e, err := c.Event(pos)
			switch {
			case err == nil && e.LoggedAt.Before(t):
				return pos + 1, nil
			case err != nil && !isDamage(err):
				return 0, err
			}
		}
	}
	return 0, nil
}

// BuildIndex builds the term table of a segment. Events that cannot be read are
// left out.
func BuildIndex(ctx context.Context, s *Reader, seed index.Seed) (*index.MemTable, error) {
	m := index.NewMemTable()
	err := s.eachReadable(ctx, func(pos int, e *event.Event) { m.AddEvent(seed, e, uint16(pos)) })
	if err != nil {
		return nil, err
	}
	return m, nil
}

// eachReadable calls fn with every event that can be read. The event is reused.
func (s *Reader) eachReadable(ctx context.Context, fn func(pos int, e *event.Event)) error {
	c := s.borrow()
	defer c.putBack()
	var e event.Event
	for i := range s.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.blocks[i].off == lostOffset {
			continue
		}
		for pos := s.blocks[i].first; pos < s.blocks[i].next(); pos++ {
			e = event.Event{}
			if err := c.decode(pos, &e); err == nil {
				fn(pos, &e)
			} else if !isDamage(err) {
				return err
			}
		}
	}
	return nil
}
