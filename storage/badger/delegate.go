package badger

import (
	"context"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/storage"
)

func isDamage(err error) bool   { return errors.Is(err, storage.ErrDamaged) }
func isNotFound(err error) bool { return errors.Is(err, storage.ErrNotFound) }

// Prune implements storage.Store.
func (s *Store) Prune(ctx context.Context, before time.Time) (n int, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return 0, err
	}
	defer s.inflight.end()
	n, err = s.log.Prune(before)
	return n, s.failed(err)
}

// failed refuses all further calls if a part of the store has closed itself:
// the owner opens the whole store again.
func (s *Store) failed(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		s.inflight.fail()
	}
	return err
}

// GetDocument implements storage.Documents.
func (s *Store) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return storage.Document{}, err
	}
	defer s.inflight.end()
	return s.documents.GetDocument(ctx, collection, key)
}

// PutDocument implements storage.Documents.
func (s *Store) PutDocument(ctx context.Context, d storage.Document) (uint64, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return 0, err
	}
	defer s.inflight.end()
	if err := s.disk.AllowWrite(int64(len(d.Key)+len(d.Value)) + 64); err != nil {
		return 0, err
	}
	version, err := s.documents.PutDocument(ctx, d)
	return version, s.failed(err)
}

// DeleteDocument implements storage.Documents.
func (s *Store) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	if err := s.inflight.begin(ctx); err != nil {
		return err
	}
	defer s.inflight.end()
	if err := s.disk.AllowWrite(64); err != nil {
		return err
	}
	return s.failed(s.documents.DeleteDocument(ctx, collection, key, version))
}

// ListDocuments implements storage.Documents.
func (s *Store) ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]storage.Document, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return nil, err
	}
	defer s.inflight.end()
	return s.documents.ListDocuments(ctx, collection, prefix, after, limit)
}

// OpenProjection implements storage.Projections.
func (s *Store) OpenProjection(ctx context.Context, p storage.Projection) (cursor uint64, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return 0, err
	}
	defer s.inflight.end()
	return s.projections.OpenProjection(ctx, p)
}

// DropProjection implements storage.Projections.
func (s *Store) DropProjection(ctx context.Context, p storage.Projection) error {
	if err := s.inflight.begin(ctx); err != nil {
		return err
	}
	defer s.inflight.end()
	return s.projections.DropProjection(ctx, p)
}

// Project implements storage.Projections.
func (s *Store) Project(ctx context.Context, step storage.Step) error {
	if err := s.inflight.begin(ctx); err != nil {
		return err
	}
	defer s.inflight.end()
	size := int64(0)
	for _, r := range step.Records {
		size += int64(len(r.Key)+len(r.Value)) + 64
	}
	if err := s.disk.AllowWrite(size); err != nil {
		return err
	}
	return s.projections.Project(ctx, step)
}

// GetRecord implements storage.Projections.
func (s *Store) GetRecord(ctx context.Context, p storage.Projection, key string) (value []byte, cursor uint64, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return nil, 0, err
	}
	defer s.inflight.end()
	return s.projections.GetRecord(ctx, p, key)
}

// ListRecords implements storage.Projections.
func (s *Store) ListRecords(ctx context.Context, p storage.Projection, prefix, after string, limit int) (records []storage.Record, cursor uint64, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return nil, 0, err
	}
	defer s.inflight.end()
	return s.projections.ListRecords(ctx, p, prefix, after, limit)
}
