// Package memstore is a storage.Store in memory, for tests: every method is the
// plainest thing that could be right, and Filter.Matches decides what a query
// finds. Nothing of it survives the process.
package memstore

import (
	"context"
	"encoding/gob"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Store keeps everything in memory.
type Store struct {
	mu        sync.RWMutex
	events    []*event.Event // ascending, with bodies
	first     uint64
	last      uint64
	projected uint64
	exact     map[identity]uint64
	keys      map[identity]int
	docs      map[docKey]document
	changes   uint64 // counts every change, for Backup
	changed   map[uint64]uint64
	refuse    error
	commit    sync.Mutex // held during a commit; see Hold
	closed    bool
}

type docKey struct{ collection, key string }

type document struct {
	value   []byte
	version uint64
	changed uint64
}

// New returns an empty store.
func New() *Store {
	return &Store{
		exact: make(map[identity]uint64), keys: make(map[identity]int),
		docs: make(map[docKey]document), changed: make(map[uint64]uint64),
	}
}

// Refuse makes Writable and CommitBatch answer with err, until it is nil again.
func (s *Store) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// Hold makes commits wait until release is called.
func (s *Store) Hold() (release func()) {
	s.commit.Lock()
	return s.commit.Unlock
}

// Reopen lets a store that was closed be used again, as a file on disk would.
func (s *Store) Reopen() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
	return s
}

// usable is called with the lock held.
func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}

func (s *Store) tick() uint64 {
	s.changes++
	return s.changes
}

// CommitBatch implements storage.Store.
func (s *Store) CommitBatch(ctx context.Context, batch []*event.Event) ([]storage.Outcome, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if s.refuse != nil {
		return nil, s.refuse
	}
	outcomes := make([]storage.Outcome, len(batch))
	for i, e := range batch {
		exact, key := identityOf(e)
		if original := s.exact[exact]; original != 0 {
			outcomes[i] = storage.Outcome{Seq: original, Duplicate: true}
			continue
		}
		s.last++
		if s.first == 0 {
			s.first = s.last
		}
		e.Seq, e.PayloadMismatch = s.last, s.keys[key] > 0
		s.exact[exact] = e.Seq
		s.keys[key]++
		kept := *e
		kept.Body = slices.Clone(e.Body)
		s.events = append(s.events, &kept)
		s.changed[e.Seq] = s.tick()
		outcomes[i] = storage.Outcome{Seq: e.Seq}
	}
	return outcomes, nil
}

// identity is what makes an event unique; with a zero body it is what two
// bodies can be sent under.
type identity struct {
	workspace, source string
	key, body         event.Digest
}

func identityOf(e *event.Event) (exact, key identity) {
	exact = identity{e.WorkspaceID, e.Source, e.DedupKey, e.BodyDigest}
	key = exact
	key.body = event.Digest{}
	return exact, key
}

// Writable implements storage.Store.
func (s *Store) Writable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return storage.ErrClosed
	}
	return s.refuse
}

// Bounds implements storage.Store.
func (s *Store) Bounds(ctx context.Context) (storage.Bounds, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return storage.Bounds{First: s.first, Last: s.last}, s.usable(ctx)
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	for _, e := range s.events {
		if e.Seq == seq {
			c := *e
			c.Body = slices.Clone(e.Body)
			return &c, nil
		}
	}
	return nil, storage.ErrNotFound
}

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	s.mu.RLock()
	err := s.usable(ctx)
	events := s.events[:len(s.events):len(s.events)] // fn may call the store
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Seq > after && e.Seq <= through && !fn(e.WithoutBody()) {
			return nil
		}
	}
	return nil
}

// Query implements storage.Store.
func (s *Store) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return storage.Page{}, err
	}
	found := make([]*event.Event, 0)
	for _, e := range s.events {
		if e.Seq <= s.projected && q.Filter.Matches(e) {
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

// Projected implements storage.Store.
func (s *Store) Projected(ctx context.Context) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.projected, s.usable(ctx)
}

// Project implements storage.Store.
func (s *Store) Project(ctx context.Context, p storage.Projection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if p.From != s.projected {
		return storage.ErrConflict
	}
	for _, d := range p.Documents {
		s.put(docKey{d.Collection, d.Key}, d.Value)
	}
	s.projected = p.Through
	s.tick()
	return nil
}

// put writes or, without a value, deletes a document.
func (s *Store) put(k docKey, value []byte) uint64 {
	if value == nil {
		delete(s.docs, k)
		return 0
	}
	version := s.docs[k].version + 1
	s.docs[k] = document{value: slices.Clone(value), version: version, changed: s.tick()}
	return version
}

// Prune implements storage.Store.
func (s *Store) Prune(ctx context.Context, before time.Time, through uint64, limit int) (n int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, false, err
	}
	for n < len(s.events) {
		e := s.events[n]
		if e.Seq > through || !e.ReceivedAt.Before(before) {
			break
		}
		if n == limit {
			more = true
			break
		}
		exact, key := identityOf(e)
		delete(s.exact, exact)
		if s.keys[key]--; s.keys[key] == 0 {
			delete(s.keys, key)
		}
		delete(s.changed, e.Seq)
		n++
	}
	s.events = slices.Clone(s.events[n:])
	switch {
	case n == 0:
	case len(s.events) == 0:
		s.first = s.last + 1
	default:
		s.first = s.events[0].Seq
	}
	return n, more, nil
}

// GetDocument implements storage.Documents.
func (s *Store) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
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
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	k := docKey{d.Collection, d.Key}
	if d.Version != storage.AnyVersion && s.docs[k].version != d.Version {
		return 0, storage.ErrConflict
	}
	value := d.Value
	if value == nil {
		value = []byte{} // a put never deletes
	}
	return s.put(k, value), nil
}

// DeleteDocument implements storage.Documents.
func (s *Store) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
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
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var out []storage.Document
	for k, d := range s.docs {
		if k.collection == collection && strings.HasPrefix(k.key, prefix) && k.key > after {
			out = append(out, storage.Document{
				Collection: k.collection, Key: k.key, Value: slices.Clone(d.value), Version: d.version,
			})
		}
	}
	slices.SortFunc(out, func(a, b storage.Document) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(len(out), limit)], nil
}

// backup is one change, as Backup writes it: an event or a document.
type backup struct {
	Seq     uint64
	Event   []byte
	Body    []byte
	Doc     storage.Document
	Changed uint64
}

// Backup implements storage.Store.
func (s *Store) Backup(ctx context.Context, w io.Writer, point string) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return "", err
	}
	since := uint64(0)
	if point != "" {
		var err error
		if since, err = strconv.ParseUint(point, 10, 64); err != nil || since > s.changes {
			return "", storage.ErrPoint
		}
	}
	enc := gob.NewEncoder(w)
	for _, e := range s.events {
		if at := s.changed[e.Seq]; at > since {
			if err := enc.Encode(backup{Seq: e.Seq, Event: e.AppendBinary(nil), Body: e.Body, Changed: at}); err != nil {
				return "", err
			}
		}
	}
	for k, d := range s.docs {
		if d.changed > since {
			doc := storage.Document{Collection: k.collection, Key: k.key, Value: d.value, Version: d.version}
			if err := enc.Encode(backup{Doc: doc, Changed: d.changed}); err != nil {
				return "", err
			}
		}
	}
	return strconv.FormatUint(s.changes, 10), nil
}

// Usage implements storage.Store.
func (s *Store) Usage(ctx context.Context) (storage.Usage, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return storage.Usage{}, s.usable(ctx)
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Interface guard
var _ storage.Store = (*Store)(nil)
