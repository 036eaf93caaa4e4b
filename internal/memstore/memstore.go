// Package memstore is a storage.Store in memory, for tests. Every method is the
// simplest correct implementation, and Filter.Matches decides what a query
// finds.
package memstore

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// LargeBody is the size in bytes above which Prepare puts a body aside.
const LargeBody = 256 << 10

// Store is one handle on data in memory. Handle creates another one on the same
// data. Each is closed on its own, like the handles of two processes.
type Store struct {
	*data
	closed bool // guarded by data.mu
}

// data is what all handles share.
type data struct {
	mu         sync.RWMutex
	events     []*event.Event // Ascending, with bodies. There are none below the floor.
	first      uint64
	last       uint64
	skipped    []storage.Range
	damaged    []storage.Range
	byIdentity map[identity]uint64
	byKey      map[identity]int
	large      map[string][]byte // Bodies put aside, by name.
	names      int               // The number of names given to large bodies.
	docs       map[docKey]document
	changes    uint64 // Counts every change, for Backup.
	changed    map[uint64]uint64

	projections map[string]*projection

	refuse error
	moved  chan struct{} // Closed when something is committed or a handle is closed.
	commit sync.Mutex    // Held during a commit or an open; see Hold.

	committing atomic.Int64 // The number of running commits.
}

// New returns an empty store.
func New() *Store {
	return &Store{data: &data{
		byIdentity: make(map[identity]uint64), byKey: make(map[identity]int), large: make(map[string][]byte),
		docs: make(map[docKey]document), changed: make(map[uint64]uint64),
		projections: make(map[string]*projection), moved: make(chan struct{}),
	}}
}

// Handle returns another handle on the same data.
func (s *Store) Handle() *Store { return &Store{data: s.data} }

// Refuse makes Writable and CommitBatch of all handles return err, until it is
// called with nil.
func (s *Store) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// Hold makes commits and Reopen wait until release is called.
func (s *Store) Hold() (release func()) {
	s.commit.Lock()
	return s.commit.Unlock
}

// Committing returns the number of running commits, including held ones.
func (s *Store) Committing() int { return int(s.committing.Load()) }

// Damage makes a range of events unreadable.
func (s *Store) Damage(r storage.Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = append(s.damaged, r)
}

// Skip skips the next n sequence numbers forever, as a restore does.
func (s *Store) Skip(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped = append(s.skipped, storage.Range{First: s.last + 1, Last: s.last + n})
	s.last += n
	if s.first == 0 {
		s.first = s.last + 1
	}
	s.notify()
}

// Fail closes this handle, as an engine does after a failed write.
func (s *Store) Fail() { _ = s.Close() }

// Reopen opens a closed handle again. Bodies that were put aside and never
// committed are gone.
func (s *Store) Reopen() *Store {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		return s
	}
	s.closed = false
	used := make(map[string]bool, len(s.large))
	for _, e := range s.events {
		used[e.BodyRef] = true
	}
	for name := range s.large {
		if !used[name] {
			delete(s.large, name)
		}
	}
	return s
}

// checkOpen is called with the lock held.
func (s *Store) checkOpen(ctx context.Context) error {
	if s.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}

func (d *data) nextChange() uint64 {
	d.changes++
	return d.changes
}

// notify wakes the followers.
func (d *data) notify() {
	close(d.moved)
	d.moved = make(chan struct{})
}

// identity is what makes an event unique. With a zero body it is the dedup key
// alone.
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

// Prepare implements storage.Store.
func (s *Store) Prepare(ctx context.Context, e *event.Event) (storage.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return storage.Outcome{}, err
	}
	exact, _ := identityOf(e)
	if original := s.byIdentity[exact]; original != 0 {
		return storage.Outcome{Seq: original, Duplicate: true}, nil
	}
	if len(e.Body) > LargeBody {
		s.names++
		e.BodyRef = strconv.Itoa(s.names)
		s.large[e.BodyRef] = slices.Clone(e.Body)
		e.Body = nil
	}
	return storage.Outcome{}, nil
}

// Large returns how many bodies are put aside.
func (s *Store) Large() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.large)
}

// Discard implements storage.Store.
func (s *Store) Discard(e *event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.large, e.BodyRef)
}

// CommitBatch implements storage.Store.
func (s *Store) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	s.committing.Add(1)
	defer s.committing.Add(-1)
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return storage.Commit{}, err
	}
	if s.refuse != nil {
		return storage.Commit{}, s.refuse
	}
	if err := withinLimits(batch); err != nil {
		return storage.Commit{}, err
	}
	c := storage.Commit{Before: s.last, Outcomes: make([]storage.Outcome, len(batch))}
	for i, e := range batch {
		exact, key := identityOf(e)
		if original := s.byIdentity[exact]; original != 0 {
			c.Outcomes[i] = storage.Outcome{Seq: original, Duplicate: true}
			continue
		}
		s.last++
		if s.first == 0 {
			s.first = s.last
		}
		e.Seq, e.PayloadMismatch = s.last, s.byKey[key] > 0
		s.byIdentity[exact] = e.Seq
		s.byKey[key]++
		kept := *e
		kept.Body = slices.Clone(e.Body)
		s.events = append(s.events, &kept)
		s.changed[e.Seq] = s.nextChange()
		c.Outcomes[i] = storage.Outcome{Seq: e.Seq}
	}
	s.notify()
	return c, nil
}

func withinLimits(batch []*event.Event) error {
	size := 0
	for _, e := range batch {
		size += len(e.Body)
	}
	if len(batch) > storage.MaxBatchEvents || (len(batch) > 1 && size > storage.MaxBatchBytes) {
		return storage.ErrTooLarge
	}
	return nil
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

// Prune implements storage.Store.
func (s *Store) Prune(ctx context.Context, before time.Time) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(ctx); err != nil {
		return 0, err
	}
	for i, e := range s.events {
		if e.LoggedAt.Before(before) {
			n = i + 1
		}
	}
	if n == 0 {
		return 0, nil
	}
	for _, e := range s.events[:n] {
		exact, key := identityOf(e)
		if s.byIdentity[exact] == e.Seq {
			delete(s.byIdentity, exact)
		}
		if s.byKey[key]--; s.byKey[key] == 0 {
			delete(s.byKey, key)
		}
		delete(s.changed, e.Seq)
		delete(s.large, e.BodyRef)
	}
	s.first = s.events[n-1].Seq + 1
	s.events = slices.Clone(s.events[n:])
	return n, nil
}

// Usage implements storage.Store.
func (s *Store) Usage(ctx context.Context) (storage.Usage, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return storage.Usage{}, s.checkOpen(ctx)
}

// Health implements storage.Store.
func (s *Store) Health() storage.Health {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return storage.Health{Damaged: slices.Clone(s.damaged)}
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.notify()
	return nil
}

// Interface guard
var _ storage.Store = (*Store)(nil)
