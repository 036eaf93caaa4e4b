package memstore

import (
	"context"
	"slices"
	"strings"

	"github.com/osa-edge/osa-gateway/storage"
)

type docKey struct{ collection, key string }

type document struct {
	value   []byte
	version uint64
	changed uint64
}

// put writes a document, or deletes it if value is nil.
func (s *Store) put(k docKey, value []byte) uint64 {
	if value == nil {
		delete(s.docs, k)
		return 0
	}
	// The counter is shared by all documents, so a version is never used twice.
	version := s.nextChange()
	s.docs[k] = document{value: slices.Clone(value), version: version, changed: version}
	return version
}

// GetDocument implements storage.Documents.
func (s *Store) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return storage.Document{}, err
	}
	d, ok := s.docs[docKey{collection, key}]
	if !ok {
		return storage.Document{}, storage.ErrNotFound
	}
	return storage.Document{Collection: collection, Key: key, Value: slices.Clone(d.value), Version: d.version}, nil
}

// PutDocument implements storage.Documents.
func (s *Store) PutDocument(ctx context.Context, d storage.Document) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return 0, err
	}
	if tooLarge(d.Collection, d.Key, d.Value) {
		return 0, storage.ErrTooLarge
	}
	k := docKey{d.Collection, d.Key}
	if d.Version != storage.AnyVersion && s.docs[k].version != d.Version {
		return 0, storage.ErrConflict
	}
	value := d.Value
	if value == nil {
		value = []byte{} // An empty value is not a deletion.
	}
	return s.put(k, value), nil
}

func tooLarge(name, key string, value []byte) bool {
	return len(name)+len(key) > storage.MaxKey || len(value) > storage.MaxValue
}

// DeleteDocument implements storage.Documents.
func (s *Store) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return err
	}
	k := docKey{collection, key}
	d, ok := s.docs[k]
	if !ok {
		return storage.ErrNotFound
	}
	if version != storage.AnyVersion && d.version != version {
		return storage.ErrConflict
	}
	s.put(k, nil)
	return nil
}

// ListDocuments implements storage.Documents.
func (s *Store) ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]storage.Document, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return nil, err
	}
	var out []storage.Document
	for k, d := range s.docs {
		if k.collection == collection && strings.HasPrefix(k.key, prefix) && (after == "" || k.key > after) {
			out = append(out, storage.Document{
				Collection: k.collection, Key: k.key, Value: slices.Clone(d.value), Version: d.version,
			})
		}
	}
	slices.SortFunc(out, func(a, b storage.Document) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(len(out), limit)], nil
}
