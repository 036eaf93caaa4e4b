// Package badger is the embedded storage engine. It keeps the log in segments,
// and documents and projections in bbolt files, in one directory; see
// layout.go.
//
// It is named after the library that format 1 was stored in. Stores of that
// format are converted; see package convert.
//
// It knows how the parts of a store work together. Package segment knows the
// log's files, package bolt documents and projections, package diskguard free
// disk space, package dedupfilter the filter of dedup keys, and package format1
// the old format.
package badger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/dedupfilter"
	"github.com/osa-edge/osa-gateway/storage/badger/diskguard"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/bolt"
	"github.com/osa-edge/osa-gateway/storage/segment"
)

// Store implements storage.Store.
type Store struct {
	dir      string
	opt      Options
	logger   *zap.Logger
	identity layout.Identity
	unlock   func()

	log         *segment.Log
	documents   *bolt.Documents
	projections *bolt.Projections
	disk        *diskguard.Guard
	inflight    *inflight
	filter      *dedupfilter.Filter

	commit commitBuffers // Used by CommitBatch, which has one caller.
	head   broadcast     // The last committed sequence number.
}

// Open opens the store in dir, or creates it. It returns storage.ErrLocked if
// another process has it open, and storage.ErrFormat if the format is unknown.
// A store of format 1 has to be converted first: see package convert.
func Open(dir string, opt Options) (*Store, error) {
	opt = opt.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	unlock, err := layout.Lock(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, opt: opt, logger: opt.Logger, unlock: unlock, inflight: newInflight()}
	s.filter = dedupfilter.New(opt.FilterBytes)
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", dir, err), s.closeFiles())
	}
	s.disk.Start()
	s.buildFilter()
	return s, nil
}

func (s *Store) open() error {
	held, id, err := layout.Inspect(s.dir)
	if err != nil {
		return err
	}
	switch held {
	case layout.Format1:
		return fmt.Errorf("%w: 1, which has to be converted first", storage.ErrFormat)
	case layout.Empty:
		if err := layout.Mark(s.dir); err != nil {
			return err
		}
	case layout.Current:
		if err := layout.RemoveFormat1(s.dir); err != nil { // Left by a conversion that ended before the deletion.
			return err
		}
	}
	s.identity = id
	s.disk = diskguard.New(s.dir, diskguard.Options{
		Reserve: s.opt.Reserve, Ballast: s.opt.Ballast, FreeSpace: s.opt.freeSpace, Logger: s.logger,
	})
	s.log, err = segment.Open(disk.OS, filepath.Join(s.dir, layout.LogDir), segment.Options{
		Logger: s.logger.Named("log"), Poisoned: s.opt.Poisoned, TableBytes: s.opt.TableBytes, Files: s.opt.Files,
	})
	if err != nil {
		return err
	}
	if s.documents, err = bolt.OpenDocuments(filepath.Join(s.dir, layout.DocumentsFile), bolt.Options{Logger: s.logger, Existing: held == layout.Current}); err != nil {
		return err
	}
	if s.projections, err = bolt.OpenProjections(filepath.Join(s.dir, layout.ProjectionsFile), bolt.Options{Logger: s.logger}); err != nil {
		return err
	}
	s.head.set(s.log.Last())
	if held == layout.Empty {
		s.identity = layout.NewIdentity()
		return layout.Describe(s.dir, s.identity)
	}
	return nil
}

// Bounds implements storage.Store.
func (s *Store) Bounds(ctx context.Context) (storage.Bounds, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return storage.Bounds{}, err
	}
	defer s.inflight.end()
	return s.log.Bounds(), nil
}

// Follow implements storage.Store. This process is the only writer.
func (s *Store) Follow(ctx context.Context, after uint64) (head uint64, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return 0, err
	}
	defer s.inflight.end()
	return s.head.wait(ctx, s.inflight.closing.Done(), after)
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return nil, err
	}
	defer s.inflight.end()
	return s.log.Get(seq)
}

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	if err := s.inflight.begin(ctx); err != nil {
		return err
	}
	defer s.inflight.end()
	ctx, cancel := s.withClose(ctx)
	defer cancel()
	err := s.log.Scan(ctx, after, through, fn)
	if err != nil && ctx.Err() != nil {
		err = s.interrupted(ctx)
	}
	return err
}

// Query implements storage.Store.
func (s *Store) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return storage.Page{}, err
	}
	defer s.inflight.end()
	ctx, cancel := s.withClose(ctx)
	defer cancel()
	page, err := s.log.Query(ctx, q)
	if err != nil && ctx.Err() != nil {
		err = s.interrupted(ctx)
	}
	return page, err
}

// Usage implements storage.Store.
func (s *Store) Usage(ctx context.Context) (storage.Usage, error) {
	if err := s.inflight.begin(ctx); err != nil {
		return storage.Usage{}, err
	}
	defer s.inflight.end()
	u := storage.Usage{ReserveBytes: s.opt.Reserve}
	err := filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // The file was deleted meanwhile.
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
			u.DiskBytes += diskguard.Allocated(info)
		}
		return err
	})
	if err != nil {
		return u, err
	}
	u.FreeBytes, err = s.opt.freeSpace(s.dir)
	return u, err
}

// Health implements storage.Store.
func (s *Store) Health() storage.Health {
	h := storage.Health{Damaged: s.log.Damaged(), Repaired: s.log.Repaired()}
	if r := s.log.Rebuilding(); r != nil {
		h.Rebuilding = append(h.Rebuilding, *r)
	}
	return h
}

// Close implements storage.Store. It waits for running calls.
func (s *Store) Close() error {
	if !s.inflight.close() {
		return nil
	}
	s.disk.Stop()
	return s.closeFiles()
}

// closeFiles closes what was opened, and releases the lock last.
func (s *Store) closeFiles() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.projections != nil {
		errs = append(errs, s.projections.Close())
	}
	if s.documents != nil {
		errs = append(errs, s.documents.Close())
	}
	s.unlock()
	return errors.Join(errs...)
}

// Interface guard
var _ storage.Store = (*Store)(nil)
