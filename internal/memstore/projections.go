package memstore

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/osa-edge/osa-gateway/storage"
)

type projection struct {
	version int
	cursor  uint64
	records map[string][]byte
}

// LoseProjections deletes everything that is derived, as an engine may at any
// time.
func (s *Store) LoseProjections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.projections)
}

// LoseRecord deletes one record without resetting the cursor, which no engine
// should do.
func (s *Store) LoseRecord(name, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.projections[name].records, key)
}

// Records returns the records of a projection.
func (s *Store) Records(name string) map[string][]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.projections[name]; p != nil {
		return maps.Clone(p.records)
	}
	return nil
}

// of returns the projection, or an empty one if that version does not exist.
func (s *Store) of(p storage.Projection) *projection {
	if got := s.projections[p.Name]; got != nil && got.version == p.Version {
		return got
	}
	return &projection{version: p.Version, records: make(map[string][]byte)}
}

// OpenProjection implements storage.Projections.
func (s *Store) OpenProjection(ctx context.Context, p storage.Projection) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return 0, err
	}
	s.projections[p.Name] = s.of(p)
	return s.projections[p.Name].cursor, nil
}

// DropProjection implements storage.Projections.
func (s *Store) DropProjection(ctx context.Context, p storage.Projection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return err
	}
	delete(s.projections, p.Name)
	return nil
}

// Project implements storage.Projections.
func (s *Store) Project(ctx context.Context, step storage.Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return err
	}
	if len(step.Records) > storage.MaxProjectRecords {
		return storage.ErrTooLarge
	}
	for _, r := range step.Records {
		if tooLarge(step.Projection.Name, r.Key, r.Value) {
			return storage.ErrTooLarge
		}
	}
	p := s.of(step.Projection)
	if other := s.projections[step.Projection.Name]; other != nil && other != p {
		return storage.ErrConflict // Another version was opened.
	}
	if p.cursor != step.From {
		return storage.ErrConflict
	}
	for _, r := range step.Records {
		if r.Value == nil {
			delete(p.records, r.Key)
		} else {
			p.records[r.Key] = slices.Clone(r.Value)
		}
	}
	p.cursor = step.Through
	s.projections[step.Projection.Name] = p
	return nil
}

// GetRecord implements storage.Projections.
func (s *Store) GetRecord(ctx context.Context, p storage.Projection, key string) ([]byte, uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return nil, 0, err
	}
	got := s.of(p)
	value, ok := got.records[key]
	if !ok {
		return nil, got.cursor, storage.ErrNotFound
	}
	return slices.Clone(value), got.cursor, nil
}

// ListRecords implements storage.Projections.
func (s *Store) ListRecords(ctx context.Context, p storage.Projection, prefix, after string, limit int) ([]storage.Record, uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return nil, 0, err
	}
	got := s.of(p)
	var out []storage.Record
	for _, key := range slices.Sorted(maps.Keys(got.records)) {
		if strings.HasPrefix(key, prefix) && (after == "" || key > after) && len(out) < limit {
			out = append(out, storage.Record{Key: key, Value: slices.Clone(got.records[key])})
		}
	}
	return out, got.cursor, nil
}
