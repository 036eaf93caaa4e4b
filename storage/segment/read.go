package segment

import (
	"context"
	"errors"
	"fmt"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Get returns the event with its body. It returns ErrNotFound, or a DamageError
// if the event cannot be read.
func (l *Log) Get(seq uint64) (*event.Event, error) {
	if l.closed.Load() {
		return nil, storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	return v.Get(seq)
}

// Event is Get without the body.
func (l *Log) Event(seq uint64) (*event.Event, error) {
	if l.closed.Load() {
		return nil, storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	return v.Event(seq)
}

// Scan calls fn with the events after `after` and up to `through`, ascending
// and without bodies, until fn returns false. If events cannot be read, it
// returns a DamageError after it has called fn with the events before them.
func (l *Log) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	if l.closed.Load() {
		return storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	return v.Scan(ctx, after, through, fn)
}

// Get returns the event with its body.
func (v *View) Get(seq uint64) (*event.Event, error) { return v.get(seq, true) }

// Event returns the event without its body.
func (v *View) Event(seq uint64) (*event.Event, error) { return v.get(seq, false) }

func (v *View) get(seq uint64, body bool) (*event.Event, error) {
	e, err := v.read(seq, body)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", seq, err)
	}
	return e, nil
}

func (v *View) read(seq uint64, body bool) (*event.Event, error) {
	if seq < v.Floor || seq > v.Last {
		return nil, storage.ErrNotFound
	}
	seg := v.v.find(seq)
	if seg == nil {
		return nil, storage.ErrNotFound
	}
	c := seg.cursor()
	e, err := c.event(int(seq - seg.base))
	switch {
	case err != nil || !body:
	case e.BodyRef != "":
		e.Body, err = v.log.readLarge(e)
	default:
		e.Body, err = c.body(e)
	}
	return e, err
}

// Scan calls fn with events without bodies: see Log.Scan.
func (v *View) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	through = min(through, v.Last)
	for seq := max(v.Floor, after+1); seq <= through && seq > after; {
		i := v.v.from(seq)
		if i == len(v.v.segs) {
			return nil
		}
		seg := v.v.segs[i]
		seq = max(seq, seg.base)
		last := min(through, seg.end()-1)
		if seq > last {
			return nil
		}
		more, err := v.scan(ctx, seg, seq, last, fn)
		var d *storage.DamageError
		switch {
		case errors.Is(err, storage.ErrNotFound): // dropped meanwhile
		case errors.As(err, &d):
			clipped := *d
			clipped.First, clipped.Last = max(d.First, v.Floor, after+1), min(d.Last, through)
			return &clipped
		case err != nil:
			return fmt.Errorf("scan: %w", err)
		case !more:
			return nil
		}
		seq = last + 1
	}
	return nil
}

// ScanBodies is Scan with bodies. It stops at the first event that cannot be
// read.
func (l *Log) ScanBodies(ctx context.Context, after, through uint64, fn func(*event.Event) error) error {
	if l.closed.Load() {
		return storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	through = min(through, v.Last)
	for _, seg := range v.v.segs {
		from, to := max(seg.base, v.Floor, after+1), min(seg.end()-1, through)
		if seg.count() == 0 || from > to {
			continue
		}
		if err := v.scanBodies(ctx, seg, from, to, fn); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) scanBodies(ctx context.Context, seg *segment, from, to uint64, fn func(*event.Event) error) error {
	c := seg.cursor()
	for seq := from; seq <= to; seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := c.event(int(seq - seg.base))
		if err == nil && e.BodyRef != "" {
			e.Body, err = v.log.readLarge(e)
		} else if err == nil {
			e.Body, err = c.body(e)
		}
		if err == nil {
			err = fn(e)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", seq, err)
		}
	}
	return nil
}

func (v *View) scan(ctx context.Context, seg *segment, from, to uint64, fn func(*event.Event) bool) (more bool, err error) {
	c := seg.cursor()
	for seq := from; seq <= to; seq++ {
		if seq%256 == 0 {
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
		e, err := c.event(int(seq - seg.base))
		if err != nil {
			return false, err
		}
		if !fn(e) {
			return false, nil
		}
	}
	return true, ctx.Err()
}

// Candidates calls fn with the sequence numbers of events whose dedup key has
// the hash (see Seed), newest first and not below the floor, until fn returns
// false. Hashes collide, so the caller reads the event and compares.
func (l *Log) Candidates(hash uint64, fn func(seq uint64) bool) error {
	if l.closed.Load() {
		return storage.ErrClosed
	}
	v := l.View()
	defer v.Close()
	for i := len(v.v.segs) - 1; i >= 0; i-- {
		seg := v.v.segs[i]
		if seg.end() <= v.Floor {
			return nil
		}
		table, err := seg.keys()
		if err != nil {
			return fmt.Errorf("look up a dedup key: %w", err)
		}
		set, ok, err := table.Get(hash)
		switch {
		case isSkippable(err):
			continue
		case err != nil:
			return fmt.Errorf("look up a dedup key: %w", err)
		case !ok:
			continue
		}
		end := min(seg.end(), v.Last+1)
		for pos := range set.Backward() {
			seq := seg.base + uint64(pos)
			if seq >= v.Floor && seq < end && !fn(seq) {
				return nil
			}
		}
	}
	return nil
}

// isSkippable reports whether a segment can be skipped after err: it was
// deleted meanwhile, or it cannot be read at all, which was reported.
func isSkippable(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged)
}

// Keys calls fn with the hashes of all dedup keys, newest segment first, until
// fn returns false. A hash may come more than once or belong to an event below
// the floor.
func (l *Log) Keys(fn func(hash uint64) bool) error {
	v := l.View()
	defer v.Close()
	more := true
	for i := len(v.v.segs) - 1; i >= 0 && more; i-- {
		table, err := v.v.segs[i].keys()
		if err == nil {
			err = table.Hashes(func(hash uint64) bool {
				more = fn(hash)
				return more
			})
		}
		if err != nil && !isSkippable(err) {
			return fmt.Errorf("list dedup keys: %w", err)
		}
	}
	return nil
}
