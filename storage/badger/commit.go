package badger

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
)

// Prepare implements storage.Store. It looks for the original of a duplicate,
// so that the committer does not have to, and writes a large body aside.
func (s *Store) Prepare(ctx context.Context, e *event.Event) (storage.Outcome, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return storage.Outcome{}, err
	}
	defer s.inflight.end()
	if hash := s.log.Seed().Key(e); s.filter.MayContain(hash) {
		found, err := s.find(e, hash)
		if err != nil || found.original != 0 {
			return storage.Outcome{Seq: found.original, Duplicate: found.original != 0}, err
		}
	}
	if len(e.Body) <= layout.LargeBody {
		return storage.Outcome{}, nil
	}
	if err := s.disk.AllowEvent(int64(len(e.Body))); err != nil {
		return storage.Outcome{}, err
	}
	name, err := s.log.PutLarge(e.Body)
	if err != nil {
		return storage.Outcome{}, fmt.Errorf("writing a large body: %w", err)
	}
	e.BodyRef, e.Body = name, nil
	return storage.Outcome{}, nil
}

// Discard implements storage.Store. If it fails, the next start deletes the
// body.
func (s *Store) Discard(e *event.Event) {
	if e.BodyRef == "" || s.inflight.begin(context.Background()) != nil {
		return
	}
	defer s.inflight.end()
	if err := s.log.RemoveLarge(e.BodyRef); err != nil {
		s.logger.Warn("a body that nobody needs stays until the next start", zap.Error(err))
	}
}

// Writable implements storage.Store.
func (s *Store) Writable() error {
	if s.inflight.closing.Err() != nil {
		return storage.ErrClosed
	}
	if err := s.disk.AllowEvent(0); err != nil {
		return err
	}
	return s.log.Writable()
}

// commitBuffers are the buffers that CommitBatch reuses.
type commitBuffers struct {
	writes []*event.Event
	hashes []uint64 // The hashes of writes.
}

// CommitBatch implements storage.Store.
func (s *Store) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return storage.Commit{}, err
	}
	defer s.inflight.end()
	size := int64(0)
	for _, e := range batch {
		size += int64(len(e.Body)) + 1024
	}
	if err := s.disk.AllowEvent(size); err != nil {
		return storage.Commit{}, err
	}
	if err := s.log.Writable(); err != nil {
		return storage.Commit{}, err
	}
	// ctx is not checked from here on, because a commit cannot be half done.
	failpoint.Hit("commit.begin")
	c := &s.commit
	defer func() { // Release the events.
		clear(c.writes)
		c.writes, c.hashes = c.writes[:0], c.hashes[:0]
	}()
	out := storage.Commit{Before: s.log.Last(), Outcomes: make([]storage.Outcome, len(batch))}
	next := s.log.Next()
	for i, e := range batch {
		original, err := s.resolve(c, e)
		if err != nil {
			return storage.Commit{}, fmt.Errorf("commit: %w", err)
		}
		if original != 0 {
			out.Outcomes[i] = storage.Outcome{Seq: original, Duplicate: true}
			continue
		}
		e.Seq = next
		out.Outcomes[i] = storage.Outcome{Seq: next}
		next++
	}
	if len(c.writes) == 0 {
		return out, nil
	}
	if err := s.write(c.writes); err != nil {
		s.inflight.fail()
		return storage.Commit{}, fmt.Errorf("commit: %w", err)
	}
	failpoint.Hit("commit.synced")
	s.buildFilter()
	s.head.set(next - 1)
	return out, nil
}

// write puts large bodies aside that Prepare did not, and appends the events.
func (s *Store) write(events []*event.Event) error {
	for _, e := range events {
		if len(e.Body) <= layout.LargeBody {
			continue
		}
		name, err := s.log.PutLarge(e.Body)
		if err != nil {
			return err
		}
		body := e.Body
		e.BodyRef, e.Body = name, nil
		defer func() { e.Body = body }()
	}
	return s.log.Append(events)
}

// resolve returns the original of e if it is a duplicate. Otherwise it adds e
// to the events to write, and sets PayloadMismatch.
func (s *Store) resolve(c *commitBuffers, e *event.Event) (original uint64, err error) {
	hash := s.log.Seed().Key(e)
	var found lookup
	if s.filter.MayContain(hash) {
		if found, err = s.find(e, hash); err != nil || found.original != 0 {
			return found.original, err
		}
	}
	for i, h := range c.hashes {
		if h == hash && sameKey(c.writes[i], e) {
			found.key = true // The batch holds the key with another body, because it holds no event twice.
		}
	}
	s.filter.Add(hash)
	e.PayloadMismatch = found.key
	c.writes, c.hashes = append(c.writes, e), append(c.hashes, hash)
	return 0, nil
}

// lookup is what the log holds of an event.
type lookup struct {
	key      bool   // An event with its dedup key.
	original uint64 // The event itself.
}

// find looks for e among the events above the floor. An event that cannot be
// read has the dedup key, as its hash shows, but its body is unknown: a resent
// event is stored and marked as a mismatch.
func (s *Store) find(e *event.Event, hash uint64) (out lookup, err error) {
	cerr := s.log.Candidates(hash, func(seq uint64) bool {
		var k *event.Event
		if k, err = s.log.Event(seq); isDamage(err) {
			out.key, err = true, nil
			return true
		} else if err != nil {
			return isNotFound(err) // The event was pruned meanwhile.
		}
		if sameKey(k, e) {
			out.key = true
			if k.BodyDigest == e.BodyDigest {
				out.original = seq
			}
		}
		return out.original == 0
	})
	if isNotFound(err) {
		err = nil
	}
	if err == nil {
		err = cerr
	}
	return out, err
}

func sameKey(a, b *event.Event) bool {
	return a.DedupKey == b.DedupKey && a.WorkspaceID == b.WorkspaceID && a.Source == b.Source
}
