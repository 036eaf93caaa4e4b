package storage

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// Collection is a typed view of a collection of documents. Values are stored as
// JSON.
type Collection[T any] struct {
	name string
	docs Documents
}

// NewCollection returns the collection of that name in docs.
func NewCollection[T any](docs Documents, name string) Collection[T] {
	return Collection[T]{name: name, docs: docs}
}

// Entry is a value with its key and version.
type Entry[T any] struct {
	Key     string
	Version uint64
	Value   T
}

// Get returns the value of a key, or ErrNotFound.
func (c Collection[T]) Get(ctx context.Context, key string) (Entry[T], error) {
	d, err := c.docs.GetDocument(ctx, c.name, key)
	if err != nil {
		return Entry[T]{}, err
	}
	return c.decode(d)
}

// Put writes the value if the document is at that version; see
// Documents.PutDocument.
func (c Collection[T]) Put(ctx context.Context, key string, value T, version uint64) (uint64, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("encoding %s %q: %w", c.name, key, err)
	}
	return c.docs.PutDocument(ctx, Document{Collection: c.name, Key: key, Value: raw, Version: version})
}

// Delete deletes the document if it is at that version.
func (c Collection[T]) Delete(ctx context.Context, key string, version uint64) error {
	return c.docs.DeleteDocument(ctx, c.name, key, version)
}

func (c Collection[T]) decode(d Document) (Entry[T], error) {
	e := Entry[T]{Key: d.Key, Version: d.Version}
	if err := strictjson.Unmarshal(d.Value, &e.Value); err != nil {
		return e, fmt.Errorf("decoding %s %q: %w", c.name, d.Key, err)
	}
	return e, nil
}
