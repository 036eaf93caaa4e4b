package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// A document's value is its version, one byte of flags and what it holds. What
// is deleted stays for a while as a document with flagDeleted: a backup that
// takes only what changed then carries the deletion, which Badger might have
// dropped for good by that time.
const (
	documentHeader = 9
	flagDeleted    = 1
	tombstoneLife  = 90 * 24 * time.Hour
	maxDocumentKey = 60 << 10
)

// GetDocument implements storage.Documents.
func (s *Store) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	if err := s.gate.enter(ctx); err != nil {
		return storage.Document{}, err
	}
	defer s.gate.leave()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	d, err := readDocument(txn, collection, key)
	if err == nil && d.Version == 0 {
		err = fmt.Errorf("%s %q: %w", collection, key, storage.ErrNotFound)
	}
	return d, err
}

// readDocument returns version 0 for what does not exist.
func readDocument(txn *bdg.Txn, collection, key string) (storage.Document, error) {
	d := storage.Document{Collection: collection, Key: key}
	err := getValue(txn, documentKey(collection, key), func(v []byte) error {
		if v == nil {
			return nil
		}
		return parseDocument(&d, v)
	})
	return d, err
}

// parseDocument leaves Version 0 if the document was deleted.
func parseDocument(d *storage.Document, v []byte) error {
	if len(v) < documentHeader {
		return corrupt("document")
	}
	if v[documentHeader-1]&flagDeleted != 0 {
		return nil
	}
	d.Version = binary.BigEndian.Uint64(v)
	d.Value = append([]byte{}, v[documentHeader:]...)
	return nil
}

// writeDocument writes d, or its deletion if it has no value, with a version of
// its own.
func (s *Store) writeDocument(txn *bdg.Txn, d storage.Document) error {
	if len(d.Key) > maxDocumentKey || len(d.Value) > maxValue-documentHeader {
		return fmt.Errorf("%w: document %.64q of %s takes %d bytes", storage.ErrTooLarge, d.Key, d.Collection, len(d.Value))
	}
	version, err := s.number()
	if err != nil {
		return err
	}
	value := binary.BigEndian.AppendUint64(make([]byte, 0, documentHeader+len(d.Value)), version)
	if d.Value == nil {
		value = append(value, flagDeleted)
	} else {
		value = append(append(value, 0), d.Value...)
	}
	entry := bdg.NewEntry(documentKey(d.Collection, d.Key), value)
	if d.Value == nil {
		entry = entry.WithTTL(tombstoneLife)
	}
	return txn.SetEntry(entry)
}

// PutDocument implements storage.Documents.
func (s *Store) PutDocument(ctx context.Context, d storage.Document) (uint64, error) {
	if d.Value == nil {
		d.Value = []byte{} // nil is a deletion only in a Projection
	}
	return s.swapDocument(ctx, d, func(current uint64) error {
		if d.Version != storage.AnyVersion && d.Version != current {
			return fmt.Errorf("%w: %s %q is at version %d, not %d", storage.ErrConflict, d.Collection, d.Key, current, d.Version)
		}
		return nil
	})
}

// DeleteDocument implements storage.Documents.
func (s *Store) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	d := storage.Document{Collection: collection, Key: key}
	_, err := s.swapDocument(ctx, d, func(current uint64) error {
		switch {
		case current == 0:
			return fmt.Errorf("%s %q: %w", collection, key, storage.ErrNotFound)
		case version != storage.AnyVersion && version != current:
			return fmt.Errorf("%w: %s %q is at version %d, not %d", storage.ErrConflict, collection, key, current, version)
		}
		return nil
	})
	return err
}

// swapDocument writes d if check agrees with the version that is there.
func (s *Store) swapDocument(ctx context.Context, d storage.Document, check func(current uint64) error) (uint64, error) {
	if err := s.gate.enter(ctx); err != nil {
		return 0, err
	}
	defer s.gate.leave()
	if err := s.space.admit(documentBytes([]storage.Document{d}), spaceEmergency); err != nil {
		return 0, err
	}
	version, err := s.swapLocked(d, check)
	if err == nil && ownSync {
		err = s.syncWAL() // others may write meanwhile
	}
	return version, err
}

func (s *Store) swapLocked(d storage.Document, check func(current uint64) error) (uint64, error) {
	s.docs.Lock()
	defer s.docs.Unlock()
	err := s.update(!ownSync, func(txn *bdg.Txn) error {
		current, err := readDocument(txn, d.Collection, d.Key)
		if err != nil {
			return err
		}
		if err := check(current.Version); err != nil {
			return err
		}
		if err := s.writeDocument(txn, d); err != nil {
			return err
		}
		current, err = readDocument(txn, d.Collection, d.Key)
		d.Version = current.Version
		return err
	})
	return d.Version, err
}

// ListDocuments implements storage.Documents.
func (s *Store) ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]storage.Document, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	all := documentKey(collection, prefix)
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: all})
	defer it.Close()
	start := all
	if from := append(documentKey(collection, after), 0); after != "" && bytes.Compare(from, all) > 0 {
		start = from
	}
	var out []storage.Document
	for it.Seek(start); it.Valid() && len(out) < limit; it.Next() {
		if err := s.interrupted(ctx); err != nil {
			return nil, err
		}
		key, err := parseDocumentKey(it.Item().Key())
		if err != nil {
			return nil, err
		}
		d := storage.Document{Collection: collection, Key: string(key)}
		if err := it.Item().Value(func(v []byte) error { return parseDocument(&d, v) }); err != nil {
			return nil, err
		}
		if d.Version != 0 {
			out = append(out, d)
		}
	}
	return out, nil
}
