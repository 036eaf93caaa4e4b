// Package badger is the embedded storage engine: the log, its indexes and the
// documents in one directory, written by Badger. See keys.go for the layout.
package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/failpoint"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// Store implements storage.Store.
type Store struct {
	dir      string
	opt      Options
	log      *zap.Logger
	db       *bdg.DB
	wal      *wal
	space    *space
	gate     gate
	identity identity

	// write is held while a transaction is committed, so that wal knows which
	// file took it.
	write sync.Mutex
	// front keeps CommitBatch and Prune off each other's dedup keys.
	front sync.Mutex
	// docs makes reading a document's version and writing it one step.
	docs sync.Mutex
	// step is held by Project.
	step sync.Mutex

	first, last, issued, projected, variant atomic.Uint64

	numbers numbers
	broken  error // why nothing more can be committed, guarded by front
	sieve   sieve
	scratch scratch  // of CommitBatch
	bucket  *buckets // of Project
}

// update runs fn in a transaction and commits it. If fn does nothing but delete,
// and the deletions are compacted away before anything else is written, Badger
// has no trace of the version left and gives it out again: a backup would go on
// behind what it does not hold. So there is something in it that stays.
func (s *Store) update(durable bool, fn func(*bdg.Txn) error) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	if err := fn(txn); err != nil {
		return err
	}
	if err := txn.Set(metaKey(metaNewest), []byte{}); err != nil {
		return err
	}
	return s.commit(txn, durable)
}

// commit commits a transaction and, if it must be durable, syncs.
func (s *Store) commit(txn *bdg.Txn, durable bool) error {
	if err := s.commitLocked(txn, durable && !ownSync); err != nil {
		return err
	}
	if durable && ownSync {
		failpoint.Hit("commit.written")
		return s.syncWAL()
	}
	return nil
}

// commitLocked closes the store to everybody where it fails: what was written is
// not known then.
func (s *Store) commitLocked(txn *bdg.Txn, dbSync bool) error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.gate.hasFailed() { // while this one waited its turn
		return storage.ErrClosed
	}
	err := txn.Commit()
	switch {
	case err != nil:
	case dbSync:
		err = s.db.Sync()
	default:
		err = s.wal.committed()
	}
	if err != nil {
		s.gate.fail()
	}
	return err
}

// syncWAL syncs what was committed. Where it fails nothing more can be: what a
// later sync says is not true of what came before.
func (s *Store) syncWAL() error {
	err := s.wal.sync()
	if err != nil {
		s.gate.fail()
	}
	return err
}

// syncWritten makes everything durable that a reader has seen.
func (s *Store) syncWritten() error {
	s.write.Lock()
	defer s.write.Unlock()
	if !ownSync {
		return s.db.Sync()
	}
	return s.syncWAL()
}

// Bounds implements storage.Store.
func (s *Store) Bounds(ctx context.Context) (storage.Bounds, error) {
	if err := s.gate.enter(ctx); err != nil {
		return storage.Bounds{}, err
	}
	defer s.gate.leave()
	return s.bounds(), nil
}

// bounds reads first before last, so that first never seems to have passed it.
func (s *Store) bounds() storage.Bounds {
	first := s.first.Load()
	return storage.Bounds{First: first, Last: s.last.Load()}
}

// Projected implements storage.Store.
func (s *Store) Projected(ctx context.Context) (uint64, error) {
	if err := s.gate.enter(ctx); err != nil {
		return 0, err
	}
	defer s.gate.leave()
	return s.projected.Load(), nil
}

// Usage implements storage.Store.
func (s *Store) Usage(ctx context.Context) (storage.Usage, error) {
	if err := s.gate.enter(ctx); err != nil {
		return storage.Usage{}, err
	}
	defer s.gate.leave()
	u := storage.Usage{ReserveBytes: s.space.need.Load()}
	err := filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // compacted away meanwhile
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			u.DiskBytes += allocated(info)
		}
		return err
	})
	if err != nil {
		return u, err
	}
	u.FreeBytes, err = s.opt.freeSpace(s.dir)
	return u, err
}

// Close implements storage.Store. It waits for what is in progress.
func (s *Store) Close() error {
	if !s.gate.close(s.db.GiveUp) {
		return nil
	}
	s.space.stop()
	s.space.yield()
	// Badger flushes its memtable; the syncs of a clean close are its own.
	return errors.Join(s.db.Close(), s.wal.close())
}

// gate lets operations in until the store closes, and tells when the last one
// has left. Operations may nest: a function that Scan calls may call Get.
type gate struct {
	mu      sync.Mutex
	n       int
	closed  bool
	failed  bool          // nobody is let in any more; the owner has to close
	closing chan struct{} // closed when closing begins
	empty   chan struct{} // closed when nobody is left
}

// closePatience is how long Close waits for writers that wait for Badger.
const closePatience = 3 * time.Second

func newGate() gate { return gate{closing: make(chan struct{}), empty: make(chan struct{})} }

func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.failed {
		return storage.ErrClosed
	}
	g.n++
	return nil
}

func (g *gate) fail() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = true
}

func (g *gate) hasFailed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.closed {
		close(g.empty)
	}
}

// close shuts the gate and waits; false if it was shut already. Who is inside for
// longer than closePatience is told to give up waiting.
func (g *gate) close(giveUp func()) bool {
	g.mu.Lock()
	first := !g.closed
	if first {
		g.closed = true
		close(g.closing)
		if g.n == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	select {
	case <-g.empty:
	case <-time.After(closePatience): // a writer waits for a compaction that does not come
		giveUp()
		<-g.empty
	}
	return first
}

// numbers gives out numbers that were never given out before, whatever crashes:
// versions of documents and ids of staged parts. A lease on disk is always ahead
// of what is used.
type numbers struct {
	mu          sync.Mutex
	next, lease uint64
}

const leaseSize = 1 << 20

func (s *Store) number() (uint64, error) {
	s.numbers.mu.Lock()
	defer s.numbers.mu.Unlock()
	if s.numbers.next >= s.numbers.lease {
		lease := s.numbers.next + leaseSize
		err := s.update(true, func(txn *bdg.Txn) error { return setUints(txn, metaLease, lease) })
		if err != nil {
			return 0, fmt.Errorf("leasing numbers: %w", err)
		}
		s.numbers.lease = lease
	}
	s.numbers.next++
	return s.numbers.next - 1, nil
}

// getUints reads a single value of n numbers: zeros if it was never written.
func getUints(txn *bdg.Txn, name byte, n int) ([]uint64, error) {
	item, err := txn.Get(metaKey(name))
	if errors.Is(err, bdg.ErrKeyNotFound) {
		return make([]uint64, n), nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]uint64, n)
	err = item.Value(func(v []byte) error {
		if len(v) != 8*n {
			return corrupt(fmt.Sprintf("value %q", name))
		}
		for i := range out {
			out[i] = binary.BigEndian.Uint64(v[8*i:])
		}
		return nil
	})
	return out, err
}

func setUints(txn *bdg.Txn, name byte, vs ...uint64) error {
	buf := make([]byte, 0, 8*len(vs))
	for _, v := range vs {
		buf = binary.BigEndian.AppendUint64(buf, v)
	}
	return txn.Set(metaKey(name), buf)
}

// lockedError tells who holds the directory, as far as Badger's pid file says.
func lockedError(dir string, cause error) error {
	if pid, err := os.ReadFile(filepath.Join(dir, "LOCK")); err == nil && len(pid) > 1 {
		return fmt.Errorf("%w: %s is held by process %s", storage.ErrLocked, dir, pid[:len(pid)-1])
	}
	return fmt.Errorf("%w: %s: %w", storage.ErrLocked, dir, cause)
}

var _ storage.Store = (*Store)(nil)
