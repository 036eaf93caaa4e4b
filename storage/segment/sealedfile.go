package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

// sealedFile is a sealed segment. Its files are opened through the file pool.
type sealedFile struct {
	log             *Log
	path, indexPath string
	info            sealed.Info
	// expected is the number of events that it should have, if known.
	expected int
	// knownLost are the events that are certainly lost.
	knownLost []storage.Range

	mu sync.Mutex
	// rebuilt is the table of dedup keys in place of a damaged one.
	rebuilt *index.MemTable
	// queued means that the term table waits to be rebuilt.
	queued bool
	// unindexable means that the term table cannot be rebuilt because the segment
	// cannot be read.
	unindexable bool
}

// findSealed opens the sealed file of a segment, or returns fs.ErrNotExist.
func (l *Log) findSealed(base uint64) (*sealedFile, error) {
	s := &sealedFile{log: l, path: l.path(fileName(base, segExt)), indexPath: l.path(fileName(base, idxExt))}
	r, err := l.files.get(s)
	if err != nil {
		return nil, err
	}
	s.info, s.knownLost = r.Info(), r.Damaged()
	if s.info.Base != base {
		return nil, fmt.Errorf("%w: %s holds segment %d", storage.ErrDamaged, s.path, s.info.Base)
	}
	s.expected = s.info.Count
	if s.info.Footer == 0 {
		l.report(&storage.DamageError{Range: storage.Range{First: base, Last: base - 1}, Where: s.path, Err: fmt.Errorf("%w: the footer, made anew in memory", errFormat)})
	}
	return s, nil
}

func (s *sealedFile) count() int { return s.info.Count }

// tableHeader returns the header of the term table's file.
func (s *sealedFile) tableHeader() index.FileHeader {
	return index.FileHeader{Base: s.info.Base, Count: s.info.Count, Salt: s.info.Salt, Seed: s.log.seed, Footer: s.info.Footer}
}

// toError reports damage, and returns ErrNotFound for a file that was deleted.
func (s *sealedFile) toError(err error) error {
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrDamaged) {
		return s.lostErr(err)
	}
	var d *storage.DamageError
	if errors.As(err, &d) {
		s.log.report(d)
		return d
	}
	return err
}

// lostErr returns the error for a file that cannot be opened: ErrNotFound if it
// was deleted meanwhile.
func (s *sealedFile) lostErr(err error) error {
	if s.info.Last() < s.log.floor.Load() || s.log.closed.Load() {
		return storage.ErrNotFound
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrDamaged) {
		return err
	}
	return s.toError(&storage.DamageError{Range: storage.Range{First: s.info.Base, Last: s.info.Last()}, Where: s.path, Err: err})
}

func (s *sealedFile) cursor() cursor { return &sealedCursor{s: s} }

// sealedCursor opens the file when it is first used.
type sealedCursor struct {
	s *sealedFile
	c *sealed.Cursor
}

func (c *sealedCursor) open() error {
	if c.c != nil {
		return nil
	}
	r, err := c.s.log.files.get(c.s)
	if err != nil {
		return c.s.lostErr(err)
	}
	c.c = r.Cursor()
	return nil
}

func (c *sealedCursor) event(pos int) (*event.Event, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	e, err := c.c.Event(pos)
	return e, c.s.toError(err)
}

func (c *sealedCursor) body(e *event.Event) ([]byte, error) {
	body, err := c.c.Body(int(e.Seq - c.s.info.Base))
	return body, c.s.toError(err)
}

// withReader calls fn with the file's reader.
func (s *sealedFile) withReader(fn func(*sealed.Reader) error) error {
	r, err := s.log.files.get(s)
	if err != nil {
		return s.lostErr(err)
	}
	if err = fn(r); errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrDamaged) {
		return s.lostErr(err)
	}
	return err
}

// keys implements content.
func (s *sealedFile) keys() (index.Table, error) { return keyTable{s}, nil }

// keyTable reads the table of keys in the footer, or the rebuilt one.
type keyTable struct{ s *sealedFile }

func (t keyTable) Get(hash uint64) (set index.Set, ok bool, err error) {
	err = t.withTable(func(table index.Table) (err error) {
		set, ok, err = table.Get(hash)
		return err
	})
	return set, ok, err
}

func (t keyTable) Hashes(fn func(hash uint64) bool) error {
	return t.withTable(func(table index.Table) error { return table.Hashes(fn) })
}

// withTable calls fn with the table. If that is damaged, it rebuilds the table
// and calls fn again.
func (t keyTable) withTable(fn func(index.Table) error) error {
	s := t.s
	return s.withReader(func(r *sealed.Reader) error {
		s.mu.Lock()
		rebuilt := s.rebuilt
		s.mu.Unlock()
		if rebuilt != nil {
			return fn(rebuilt)
		}
		if s.info.Seed == s.log.seed {
			if err := fn(r.Keys()); !errors.Is(err, storage.ErrDamaged) {
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.rebuilt == nil {
			s.log.report(&storage.DamageError{Range: storage.Range{First: s.info.Base, Last: s.info.Base - 1}, Where: s.path, Err: fmt.Errorf("%w: table of dedup keys, made anew in memory", errFormat)})
			m, err := s.rebuildKeys(r)
			if err != nil {
				return err
			}
			s.rebuilt = m
		}
		return fn(s.rebuilt)
	})
}

// rebuildKeys builds the table of dedup keys from the events that can be read.
func (s *sealedFile) rebuildKeys(r *sealed.Reader) (*index.MemTable, error) {
	m := index.NewMemTable()
	c := r.Cursor()
	for pos := range s.info.Count {
		e, err := c.Event(pos)
		if err != nil {
			if err = s.toError(err); !errors.Is(err, storage.ErrDamaged) {
				return nil, err
			}
			continue
		}
		m.Add(s.log.seed.Key(e), uint16(pos))
	}
	return m, nil
}

// terms implements content.
func (s *sealedFile) terms() (index.Source, error) { return termTable{s}, nil }

// termTable reads the .idx file. If it is missing or damaged, it is rebuilt in
// the background.
type termTable struct{ s *sealedFile }

func (t termTable) Get(hash uint64) (set index.Set, ok bool, err error) {
	r, err := t.s.log.indexes.get(t.s)
	if err == nil {
		set, ok, err = r.Get(hash)
	}
	switch {
	case err == nil:
		return set, ok, nil
	case errors.Is(err, storage.ErrDamaged), errors.Is(err, fs.ErrNotExist), errors.Is(err, storage.ErrFormat):
		t.s.mu.Lock()
		never := t.s.unindexable
		t.s.mu.Unlock()
		if never {
			return set, false, storage.ErrDamaged
		}
		return set, false, t.s.log.work.rebuild(t.s)
	}
	return set, false, err
}

func (s *sealedFile) receivedBetween(since, until int64) (set index.Set, err error) {
	// Most segments are completely inside or outside of the range, and their
	// footer says so without another read.
	first, last := unixNano(s.info.ReceivedMin), unixNano(s.info.ReceivedMax)
	switch {
	case last < since || first > until:
		return index.Set{}, nil
	case first >= since && last <= until:
		return index.RangeSet(0, s.count()), nil
	}
	err = s.withReader(func(r *sealed.Reader) error {
		set = r.PositionsReceived(timeOf(since), timeOf(until))
		return nil
	})
	return set, err
}

// timeOf is the reverse of unixNano. Times at the ends of its range become the
// zero time, which is no bound.
func timeOf(n int64) time.Time {
	if n == math.MinInt64 || n == noTime {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (s *sealedFile) minLogged() int64 { return unixNano(s.info.LoggedMin) }

func (s *sealedFile) loggedBefore(before time.Time) (n int, err error) {
	err = s.withReader(func(r *sealed.Reader) error {
		n, err = r.LoggedBefore(before)
		return err
	})
	return n, err
}

func (s *sealedFile) names() (names []string, err error) {
	err = s.withReader(func(r *sealed.Reader) error {
		names, err = r.BodyRefs()
		return err
	})
	return names, err
}

func (s *sealedFile) close() {
	s.log.files.drop(s)
	s.log.pool.forget(s.path)
	s.dropTermTable()
}

// dropTermTable makes the next query open the term table again.
func (s *sealedFile) dropTermTable() {
	s.log.indexes.drop(s)
	s.log.pool.forget(s.indexPath)
}

// Interface guards
var (
	_ content      = (*sealedFile)(nil)
	_ cursor       = (*sealedCursor)(nil)
	_ index.Table  = keyTable{}
	_ index.Source = termTable{}
)
