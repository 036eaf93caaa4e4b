// Package format1 reads stores and backups of format 1, in which everything was
// stored in Badger. It writes nothing of its own.
package format1

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Store is an open store of format 1. Its contents are not changed.
type Store struct {
	dir   string
	db    *bdg.DB
	state State
}

// State describes a store.
type State struct {
	// First and Last are those of storage.Bounds.
	First, Last uint64
	// Issued is the last sequence number that may have been used.
	Issued uint64
	// Identity identifies the store.
	Identity [2]uint64
	// DocumentVersion is greater than every version of a document.
	DocumentVersion uint64
}

// Open opens the store in dir. It returns storage.ErrLocked if another process
// has it open, storage.ErrFormat if it is not a store of format 1, and
// storage.ErrDamaged if Badger's tables cannot be read. All tables are checked,
// because an iterator stops silently at a damaged one.
//
// A store that was closed cleanly is not written to. After a crash Badger
// recovers it first, as at any start.
func Open(dir string, log *zap.Logger) (*Store, error) {
	s, err := open(dir, log)
	if err != nil {
		return nil, fmt.Errorf("store %s of format 1: %w", dir, err)
	}
	return s, nil
}

func open(dir string, log *zap.Logger) (*Store, error) {
	if log == nil {
		log = zap.NewNop()
	}
	if _, err := os.Stat(filepath.Join(dir, bdg.ManifestFilename)); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrFormat, err)
	}
	db, err := openBadger(dir, log)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, db: db}
	if err := db.VerifyChecksum(); err != nil {
		err = fmt.Errorf("%w: %w", storage.ErrDamaged, err)
		return nil, errors.Join(err, db.Close())
	}
	if err := db.View(s.load); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// openBadger opens a cleanly closed store read-only. Badger cannot open a store
// read-only after a crash, because it has to truncate the write-ahead log.
func openBadger(dir string, log *zap.Logger) (*bdg.DB, error) {
	// Disable compactions.
	opt := options(dir, log).WithNumCompactors(0).WithNumLevelZeroTables(1 << 20).WithNumLevelZeroTablesStall(1 << 21)
	if wasClosed(dir) {
		db, err := bdg.Open(opt.WithReadOnly(true))
		if err == nil {
			return db, nil
		}
		if err := openError(err); errors.Is(err, storage.ErrLocked) || errors.Is(err, storage.ErrDamaged) {
			return nil, err
		}
		log.Warn("the store cannot be opened for reading only", zap.String("dir", dir), zap.Error(err))
	}
	if err := removeEmpty(dir, log); err != nil {
		return nil, fmt.Errorf("removing what a crash left: %w", err)
	}
	db, err := bdg.Open(opt)
	if err != nil {
		return nil, openError(err)
	}
	return db, nil
}

// openError classifies errors for which Badger has no error values, or which it
// wraps as text.
func openError(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "Cannot acquire directory lock"):
		return fmt.Errorf("%w: %w", storage.ErrLocked, err)
	case errors.Is(err, y.ErrChecksumMismatch), strings.Contains(text, y.ErrChecksumMismatch.Error()):
		return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	}
	return err
}

func checkFormat(txn *bdg.Txn) error {
	format, err := getUints(txn, metaFormat, 1)
	if err == nil && format[0] != formatNumber {
		err = fmt.Errorf("%w: %d, not %d", storage.ErrFormat, format[0], formatNumber)
	}
	return err
}

func (s *Store) load(txn *bdg.Txn) error {
	if err := checkFormat(txn); err != nil {
		return err
	}
	log, err := getUints(txn, metaLog, 3)
	if err != nil {
		return err
	}
	id, err := getUints(txn, metaIdentity, 2)
	if err != nil {
		return err
	}
	lease, err := getUints(txn, metaLease, 1)
	if err != nil {
		return err
	}
	tail, err := lastBlock(txn)
	if err != nil {
		return err
	}
	first, last, issued := log[0], log[1], log[2]
	b := newBlocks(txn)
	defer b.close()
	if b.seek(first) {
		if err := b.load(); err != nil {
			return err
		}
		first = b.block.first
	}
	s.state = State{
		First: first, Last: max(last, tail), Issued: max(last, tail, issued),
		Identity: [2]uint64(id), DocumentVersion: lease[0],
	}
	return nil
}

// lastBlock returns the last sequence number of the last block, or 0.
func lastBlock(txn *bdg.Txn) (uint64, error) {
	it := txn.NewIterator(bdg.IteratorOptions{Reverse: true, Prefix: []byte{kindBlock}})
	defer it.Close()
	it.Seek(seqKey(kindBlock, ^uint64(0)))
	if !it.Valid() {
		return 0, nil
	}
	return parseBlockKey(it.Item().Key())
}

// State returns the state at the time of opening.
func (s *Store) State() State { return s.state }

// Events calls fn with all events in ascending order, with their bodies, until
// it returns an error. Format 1 did not store LoggedAt: it is the latest
// ReceivedAt so far, but not after now, because a clock may have been ahead. An
// event that cannot be read is a storage.DamageError.
func (s *Store) Events(ctx context.Context, now time.Time, fn func(*event.Event) error) error {
	now = now.UTC().Round(0) // Remove the monotonic reading.
	return s.db.View(func(txn *bdg.Txn) error {
		b := newBlocks(txn)
		defer b.close()
		var logged time.Time
		before := uint64(0)
		for ok := b.seek(s.state.First); ok; ok = b.next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := b.load(); err != nil {
				return s.damage(b, before, err)
			}
			for i := range b.block.count {
				e, err := b.event(i)
				if err == nil {
					e.Body, err = b.body(i)
				}
				if err != nil {
					return s.damage(b, before, err)
				}
				at := e.ReceivedAt
				if at.After(now) {
					at = now
				}
				if at.After(logged) {
					logged = at
				}
				e.LoggedAt = logged
				if e.Seq < s.state.First {
					continue
				}
				if err := fn(e); err != nil {
					return err
				}
			}
			before = b.block.last
		}
		return nil
	})
}

// damage adds the block at b to an error. before is the last event ahead of the
// block.
func (s *Store) damage(b *blocks, before uint64, err error) error {
	last, kerr := parseBlockKey(b.it.Item().Key())
	if kerr != nil {
		return fmt.Errorf("%w: %w", storage.ErrDamaged, errors.Join(err, kerr))
	}
	return &storage.DamageError{Range: storage.Range{First: max(before+1, s.state.First), Last: last}, Where: s.dir, Err: err}
}

// projected are the collections that are projections in later formats. They are
// rebuilt from the log.
var projected = map[string]bool{"workflow_state": true, "agent_state": true}

// A document's value is its version, one byte of flags and what it holds. What
// was deleted stands there still, as a flag.
const (
	documentHeader = 9
	flagDeleted    = 1
)

// Documents calls fn with all documents in order of collection and key until it
// returns an error. It leaves out deleted documents and the states of workflows
// and agents.
func (s *Store) Documents(ctx context.Context, fn func(storage.Document) error) error {
	return s.db.View(func(txn *bdg.Txn) error {
		it := txn.NewIterator(bdg.IteratorOptions{Prefix: []byte{kindDocument}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			key := it.Item().KeyCopy(nil)
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				return fmt.Errorf("document %.80q: %w", key, err)
			}
			if len(v) < documentHeader {
				return fmt.Errorf("document %.80q: %w", key, corrupt("value"))
			}
			if v[documentHeader-1]&flagDeleted != 0 {
				continue
			}
			d := storage.Document{Version: binary.BigEndian.Uint64(v), Value: v[documentHeader:]}
			if d.Collection, d.Key, err = parseDocumentKey(key); err != nil {
				return fmt.Errorf("document %.80q: %w", key, err)
			}
			if projected[d.Collection] {
				continue
			}
			if err := fn(d); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }
