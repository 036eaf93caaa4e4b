package memstore

import (
	"context"
	"errors"
	"slices"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

var errDamaged = errors.New("damaged by a test")

// Bounds implements storage.Store.
func (s *Store) Bounds(ctx context.Context) (storage.Bounds, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return storage.Bounds{First: s.first, Last: s.last, Skipped: slices.Clone(s.skipped)}, s.checkOpen(ctx)
}

// Follow implements storage.Store.
func (s *Store) Follow(ctx context.Context, after uint64) (uint64, error) {
	for {
		s.mu.RLock()
		err, last, moved := s.checkOpen(ctx), s.last, s.moved
		s.mu.RUnlock()
		if err != nil {
			return 0, err
		}
		if last > after {
			return last, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// damage returns the error of the damaged range with the event. The caller
// holds the lock.
func (s *Store) damage(seq uint64) error {
	for _, r := range s.damaged {
		if r.First <= seq && seq <= r.Last {
			return &storage.DamageError{Range: r, Where: "memory", Err: errDamaged}
		}
	}
	return nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return nil, err
	}
	for _, e := range s.events {
		if e.Seq == seq {
			if err := s.damage(seq); err != nil {
				return nil, err
			}
			c := *e
			c.Body = slices.Clone(e.Body)
			if e.BodyRef != "" {
				c.Body = slices.Clone(s.large[e.BodyRef])
			}
			return &c, nil
		}
	}
	return nil, storage.ErrNotFound
}

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	s.mu.RLock()
	err := s.checkOpen(ctx)
	events := s.events[:len(s.events):len(s.events)] // A copy, because fn may call the store.
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Seq <= after || e.Seq > through {
			continue
		}
		s.mu.RLock()
		err := s.damage(e.Seq)
		s.mu.RUnlock()
		if err != nil {
			return err
		}
		if !fn(e.WithoutBody()) {
			return nil
		}
	}
	return nil
}

// Query implements storage.Store.
func (s *Store) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return storage.Page{}, err
	}
	found := make([]*event.Event, 0)
	for _, e := range s.events {
		if q.Filter.Matches(e) && s.damage(e.Seq) == nil {
			found = append(found, e.WithoutBody())
		}
	}
	if !q.Ascending {
		slices.Reverse(found)
	}
	if q.After != 0 {
		found = slices.DeleteFunc(found, func(e *event.Event) bool {
			return q.Ascending == (e.Seq <= q.After) || e.Seq == q.After
		})
	}
	page := storage.Page{Events: found}
	if limit := max(q.Limit, 1); len(found) > limit {
		page.Events = found[:limit]
		page.Next = found[limit-1].Seq
	}
	return page, nil
}
