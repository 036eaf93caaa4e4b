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

// Of each projection there is a bucket, named by its name behind one byte. It
// holds the cursor and the records, whose keys stand behind a byte too.
const (
	projectionPrefix = 'p'
	recordPrefix     = 'r'
)

var cursorKey = []byte("c")

// Projections implements storage.Projections. The file holds nothing that could
// not be made again: where it is damaged it is removed, and all cursors are 0.
type Projections struct {
	inflight inflight // held for writing while the file is replaced
	path     string
	opt      Options
	f        *file // nil where a new one could not be made
}

// maxCheckedSize is the size up to which projections are checked before they are
// opened: a start does not wait for a gigabyte. In a larger file damage is met when
// it is read: values have a checksum over key and value, what bbolt trips over ends
// as an error, and who misses a record asks the log.
const maxCheckedSize = 64 << 20

// OpenProjections opens the file, or makes it, also in place of a damaged one. It
// returns storage.ErrLocked while another process holds it.
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

// recreate removes the file and makes another.
func (p *Projections) recreate(cause error) (*file, error) {
	p.opt.Logger.Error("projections are damaged and will be made from the log again", zap.String("file", p.path), zap.Error(cause))
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return openFile(p.path, p.opt, func(*bbolt.Tx) error { return nil }, checkRecord)
}

// do runs fn with the file. Where that meets damage the file is replaced by an
// empty one, and fn runs once more.
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

// replace makes a new file in the place of f, unless another has done so.
func (p *Projections) replace(ctx context.Context, f *file, cause error) error {
	p.inflight.mu.Lock()
	defer p.inflight.mu.Unlock()
	if p.inflight.closed.Load() || p.f != f {
		return ctx.Err() // the next try says what there is to say
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

// state is a projection as it stands.
type state struct {
	bucket          *bbolt.Bucket // nil: there is none
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

// stateAt is stateOf where p.Version exists, else that of nothing.
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

// createProjection makes the projection's bucket.
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

// Drop drops all projections, and gives back the disk space that they took.
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

// Close waits for those who are at work.
func (p *Projections) Close() error {
	if !p.inflight.close() || p.f == nil {
		return nil
	}
	return p.f.close()
}

var _ storage.Projections = (*Projections)(nil)
