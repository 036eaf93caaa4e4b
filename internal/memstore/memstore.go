// Package memstore is a storage.Store in memory, for tests: every method is the
// plainest thing that could be right, and Filter.Matches decides what a query
// finds. Nothing of it survives the process.
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

// LargeBody is the size in bytes over which Prepare puts a body aside.
const LargeBody = 256 << 10

// Store is one handle on what is kept in memory. Another one on the same is made
// with Handle: each is closed for itself, as those of two processes would be.
type Store struct {
	*data
	closed bool // guarded by data.mu
}

// data is what all handles share.
type data struct {
	mu         sync.RWMutex
	events     []*event.Event // ascending, with their bodies; below the floor there are none
	first      uint64
	last       uint64
	skipped    []storage.Range
	damaged    []storage.Range
	byIdentity map[identity]uint64
	byKey      map[identity]int
	large      map[string][]byte // bodies put aside, by name
	names      int               // given to large bodies so far
	docs       map[docKey]document
	changes    uint64 // counts every change, for Backup
	changed    map[uint64]uint64

	projections map[string]*projection

	refuse error
	moved  chan struct{} // closed when something is committed or a handle is closed
	commit sync.Mutex    // held during a commit or an open; see Hold

	committing atomic.Int64 // commits under way
}

// New returns an empty store.
func New() *Store {
	return &Store{data: &data{
		byIdentity: make(map[identity]uint64), byKey: make(map[identity]int), large: make(map[string][]byte),
		docs: make(map[docKey]document), changed: make(map[uint64]uint64),
		projections: make(map[string]*projection), moved: make(chan struct{}),
	}}
}

// Handle returns another handle on the same store.
func (s *Store) Handle() *Store { return &Store{data: s.data} }

// Refuse makes Writable and CommitBatch of all handles answer with err, until it
// is nil again.
func (s *Store) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// Hold makes commits, and Reopen, wait until release is called.
func (s *Store) Hold() (release func()) {
	s.commit.Lock()
	return s.commit.Unlock
}

// Committing is how many commits are under way, those that are held among them.
func (s *Store) Committing() int { return int(s.committing.Load()) }

// Damage makes a range of events unreadable.
func (s *Store) Damage(r storage.Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = append(s.damaged, r)
}

// Skip leaves out the next n sequence numbers for ever, as a restore does.
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

// Fail closes this handle as an engine closes itself after a failed write.
func (s *Store) Fail() { _ = s.Close() }

// Reopen lets a handle that was closed be used again, as a file on disk would.
// Bodies that were put aside and never committed are gone.
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

// notify wakes who follows.
func (d *data) notify() {
	close(d.moved)
	d.moved = make(chan struct{})
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

// Large is how many bodies stand aside.
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
