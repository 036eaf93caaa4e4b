package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// Each projection has a bucket. Its name is the projection's name after a
// prefix byte. It holds the cursor, and the records with a prefix byte before
// their keys.
const (
	projectionPrefix = 'p'
	recordPrefix     = 'r'
)

var cursorKey = []byte("c")

// Projections implements storage.Projections. Everything in the file can be
// rebuilt. If the file is damaged it is replaced by an empty one, and all
// cursors are 0.
type Projections struct {
	inflight inflight // Held for writing while the file is replaced.
	path     string
	opt      Options
	f        *file // nil if no new file could be created.
}

// maxCheckedSize is the largest file that is checked before it is opened, so
// that a start does not wait for a check of a gigabyte. In a larger file damage
// is found when it is read: values have checksums over key and value, panics of
// bbolt become errors, and a reader that misses a record checks the log.
const maxCheckedSize = 64 << 20

// OpenProjections opens or creates the file, and replaces a damaged one. It
// returns storage.ErrLocked if another process has it open.
func OpenProjections(path string, opt Options) (*Projections, error) {
	opt = opt.withDefaults()
	opt.Existing, opt.checkBytes = false, maxCheckedSize
	p := &Projections{path: path, opt: opt}
	f, err := openFile(path, opt, func(*bbolt.Tx) error { return nil }, checkRecord)
	if errors.Is(err, storage.ErrDamaged) {
		f, err = p.recreate(err)
	}
	if err != nil {
		return nil, fmt.Errorf("projections: %w", err)
	}
	p.f = f
	return p, nil
}

func checkRecord(bucket, key, value []byte) error {
	_, err := verifyChecksum(key, value)
	return err
}

// recreate deletes the file and creates an empty one.
func (p *Projections) recreate(cause error) (*file, error) {
	p.opt.Logger.Error("projections are damaged and will be made from the log again", zap.String("file", p.path), zap.Error(cause))
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return openFile(p.path, p.opt, func(*bbolt.Tx) error { return nil }, checkRecord)
}

// do runs fn with the file. If fn finds damage, do replaces the file by an
// empty one and runs fn again.
func (p *Projections) do(ctx context.Context, fn func(*file) error) error {
	for first := true; ; first = false {
		f, err := p.try(ctx, fn)
		if !first || f == nil || !errors.Is(err, storage.ErrDamaged) {
			return err
		}
		if err := p.replace(ctx, f, err); err != nil {
			return err
		}
	}
}

func (p *Projections) try(ctx context.Context, fn func(*file) error) (*file, error) {
	if err := p.inflight.begin(ctx); err != nil {
		return nil, err
	}
	defer p.inflight.end()
	if p.f == nil {
		return nil, fmt.Errorf("projections: %w", storage.ErrClosed)
	}
	return p.f, fn(p.f)
}

// replace creates a new file in place of f, unless another call has done so.
func (p *Projections) replace(ctx context.Context, f *file, cause error) error {
	p.inflight.mu.Lock()
	defer p.inflight.mu.Unlock()
	if p.inflight.closed.Load() || p.f != f {
		return ctx.Err() // The next try reports the error.
	}
	p.f = nil
	if err := f.close(); err != nil {
		p.opt.Logger.Warn("closing damaged projections", zap.Error(err))
	}
	next, err := p.recreate(cause)
	if err != nil {
		return fmt.Errorf("projections: %w", err)
	}
	p.f = next
	return nil
}

func bucketName(name string) []byte { return append([]byte{projectionPrefix}, name...) }

func recordKey(key string) []byte { return append([]byte{recordPrefix}, key...) }

// state is the state of a projection.
type state struct {
	bucket          *bbolt.Bucket // nil if there is none.
	version, cursor uint64
}

func stateOf(tx *bbolt.Tx, name string) (s state, err error) {
	s.bucket = tx.Bucket(bucketName(name))
	if s.bucket == nil {
		return s, nil
	}
	v, err := verifyChecksum(cursorKey, s.bucket.Get(cursorKey))
	if err != nil || len(v) != 16 {
		return s, damaged("the cursor of projection %.80q", name)
	}
	s.version, s.cursor = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	return s, nil
}

// stateAt is stateOf if p.Version exists, and the empty state otherwise.
func stateAt(tx *bbolt.Tx, p storage.Projection) (state, error) {
	s, err := stateOf(tx, p.Name)
	if err != nil || s.bucket == nil || s.version != uint64(p.Version) {
		return state{version: uint64(p.Version)}, err
	}
	return s, nil
}

func (s state) put() error {
	v := binary.BigEndian.AppendUint64(nil, s.version)
	return s.bucket.Put(cursorKey, withChecksum(cursorKey, binary.BigEndian.AppendUint64(v, s.cursor)))
}

// createProjection creates the projection's bucket.
func createProjection(tx *bbolt.Tx, p storage.Projection) (state, error) {
	b, err := tx.CreateBucket(bucketName(p.Name))
	if err != nil {
		return state{}, err
	}
	s := state{bucket: b, version: uint64(p.Version)}
	return s, s.put()
}

// OpenProjection implements storage.Projections.
func (p *Projections) OpenProjection(ctx context.Context, pr storage.Projection) (cursor uint64, err error) {
	if err := checkLimits(pr.Name, "", nil); err != nil {
		return 0, err
	}
	err = p.do(ctx, func(f *file) error {
		there := false
		err := f.view(func(tx *bbolt.Tx) error {
			s, err := stateAt(tx, pr)
			cursor, there = s.cursor, s.bucket != nil
			return err
		})
		if err != nil || there {
			return err
		}
		return f.update(func(tx *bbolt.Tx) error {
			if err := drop(tx, pr.Name); err != nil {
				return err
			}
			_, err := createProjection(tx, pr)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return cursor, nil
}

// DropProjection implements storage.Projections.
func (p *Projections) DropProjection(ctx context.Context, pr storage.Projection) error {
	return p.do(ctx, func(f *file) error {
		return f.update(func(tx *bbolt.Tx) error { return drop(tx, pr.Name) })
	})
}

func drop(tx *bbolt.Tx, name string) error {
	if tx.Bucket(bucketName(name)) == nil {
		return nil
	}
	return tx.DeleteBucket(bucketName(name))
}

// Drop deletes all projections and frees their disk space.
func (p *Projections) Drop(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.inflight.mu.Lock()
	defer p.inflight.mu.Unlock()
	if p.inflight.closed.Load() {
		return storage.ErrClosed
	}
	if p.f != nil {
		f := p.f
		p.f = nil
		if err := f.close(); err != nil {
			return fmt.Errorf("projections: %w", err)
		}
	}
	err := os.Remove(p.path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		p.f, err = openFile(p.path, p.opt, func(*bbolt.Tx) error { return nil }, checkRecord)
	}
	if err != nil {
		return fmt.Errorf("projections: %w", err)
	}
	return nil
}

// Project implements storage.Projections.
func (p *Projections) Project(ctx context.Context, step storage.Step) error {
	if n := len(step.Records); n > storage.MaxProjectRecords {
		return fmt.Errorf("%w: %d records in a step", storage.ErrTooLarge, n)
	}
	for _, r := range step.Records {
		if err := checkLimits(step.Projection.Name, r.Key, r.Value); err != nil {
			return err
		}
	}
	return p.do(ctx, func(f *file) error {
		return f.update(func(tx *bbolt.Tx) error { return project(tx, step) })
	})
}

func project(tx *bbolt.Tx, step storage.Step) error {
	s, err := stateOf(tx, step.Projection.Name)
	if err != nil {
		return err
	}
	if s.bucket == nil {
		s.version = uint64(step.Projection.Version)
	}
	if s.version != uint64(step.Projection.Version) || s.cursor != step.From {
		return fmt.Errorf("%w: projection %.80q, version %d, is at %d, not version %d at %d",
			storage.ErrConflict, step.Projection.Name, s.version, s.cursor, step.Projection.Version, step.From)
	}
	if s.bucket == nil {
		if s, err = createProjection(tx, step.Projection); err != nil {
			return err
		}
	}
	for _, r := range step.Records {
		key := recordKey(r.Key)
		if r.Value == nil {
			err = s.bucket.Delete(key)
		} else {
			err = s.bucket.Put(key, withChecksum(key, r.Value))
		}
		if err != nil {
			return fmt.Errorf("record %.80q: %w", r.Key, err)
		}
	}
	s.cursor = step.Through
	return s.put()
}

// GetRecord implements storage.Projections.
func (p *Projections) GetRecord(ctx context.Context, pr storage.Projection, key string) (value []byte, cursor uint64, err error) {
	missing := func() error { return fmt.Errorf("%.80s %.80q: %w", pr.Name, key, storage.ErrNotFound) }
	err = p.do(ctx, func(f *file) error {
		return f.view(func(tx *bbolt.Tx) error {
			s, err := stateAt(tx, pr)
			if cursor = s.cursor; err != nil {
				return err
			}
			if s.bucket == nil || checkLimits(pr.Name, key, nil) != nil {
				return missing()
			}
			k := recordKey(key)
			v := s.bucket.Get(k)
			if v == nil {
				return missing()
			}
			v, err = verifyChecksum(k, v)
			value = append([]byte{}, v...)
			return err
		})
	})
	if err != nil {
		return nil, cursor, err
	}
	return value, cursor, nil
}

// ListRecords implements storage.Projections.
func (p *Projections) ListRecords(ctx context.Context, pr storage.Projection, prefix, after string, limit int) (records []storage.Record, cursor uint64, err error) {
	err = p.do(ctx, func(f *file) error {
		return f.view(func(tx *bbolt.Tx) error {
			s, err := stateAt(tx, pr)
			if records, cursor = nil, s.cursor; err != nil || s.bucket == nil {
				return err
			}
			return list(s.bucket.Cursor(), []byte{recordPrefix}, prefix, after, limit, func(key string, k, v []byte) error {
				v, err := verifyChecksum(k, v)
				records = append(records, storage.Record{Key: key, Value: append([]byte{}, v...)})
				return err
			})
		})
	})
	if err != nil {
		return nil, 0, err
	}
	return records, cursor, nil
}

// Close waits for running calls.
func (p *Projections) Close() error {
	if !p.inflight.close() || p.f == nil {
		return nil
	}
	return p.f.close()
}

var _ storage.Projections = (*Projections)(nil)
