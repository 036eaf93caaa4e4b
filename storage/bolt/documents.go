package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// The buckets of a documents file: the documents, and the counter for versions.
var (
	documentsBucket = []byte("documents")
	stateBucket     = []byte("state")
	counterKey      = []byte("counter")
)

// Documents implements storage.Documents. Concurrent writers share a sync.
// After a failed write it returns storage.ErrClosed for every write until the
// file is opened again. A full disk (storage.ErrNoSpace) does not close it.
type Documents struct {
	inflight inflight
	f        *file
	log      *zap.Logger
	commits  groupCommit
}

// OpenDocuments opens or creates the file. It returns storage.ErrLocked if
// another process has it open, and storage.ErrDamaged if documents may be
// missing. A document whose value is damaged does not affect the others:
// reading it returns storage.ErrDamaged, and it can be overwritten at
// storage.AnyVersion.
func OpenDocuments(path string, opt Options) (*Documents, error) {
	opt = opt.withDefaults()
	highest, counter, counted, rotten := uint64(0), uint64(0), false, 0
	f, err := openFile(path, opt, prepareDocuments, func(bucket, key, value []byte) error {
		switch {
		case bytes.Equal(bucket, stateBucket) && bytes.Equal(key, counterKey):
			n, err := parseCounter(value)
			counter, counted = n, true
			return err
		case !bytes.Equal(bucket, documentsBucket):
			return damaged("%.80q in bucket %.80q", key, bucket)
		}
		if _, _, ok := cutDocumentKey(key); !ok || !keyIsWhole(key, value) {
			return damaged("the key %.80q is none", key)
		}
		version, _, err := decodeDocument(key, value)
		if err != nil {
			rotten++
			opt.Logger.Error("a document is damaged", zap.String("file", path), zap.Error(err))
			return nil
		}
		highest = max(highest, version)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	d := &Documents{f: f, log: opt.Logger}
	d.commits.commit = d.commit
	if err := d.f.view(func(tx *bbolt.Tx) error {
		_, err := getCounter(tx)
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("documents: %w", err), f.close())
	}
	if counted && highest > counter {
		err := damaged("%s: version %d was given out and the counter is at %d", path, highest, counter)
		return nil, errors.Join(fmt.Errorf("documents: %w", err), f.close())
	}
	return d, nil
}

func prepareDocuments(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucketIfNotExists(documentsBucket); err != nil {
		return err
	}
	if _, err := tx.CreateBucketIfNotExists(stateBucket); err != nil {
		return err
	}
	return putCounter(tx, 0)
}

func parseCounter(b []byte) (uint64, error) {
	v, err := verifyChecksum(counterKey, b)
	if err != nil || len(v) != 8 {
		return 0, damaged("the counter of versions")
	}
	return binary.BigEndian.Uint64(v), nil
}

func bucketOf(tx *bbolt.Tx, name []byte) (*bbolt.Bucket, error) {
	b := tx.Bucket(name)
	if b == nil {
		return nil, damaged("bucket %q is missing", name)
	}
	return b, nil
}

func getCounter(tx *bbolt.Tx) (uint64, error) {
	b, err := bucketOf(tx, stateBucket)
	if err != nil {
		return 0, err
	}
	return parseCounter(b.Get(counterKey))
}

func putCounter(tx *bbolt.Tx, n uint64) error {
	b, err := bucketOf(tx, stateBucket)
	if err != nil {
		return err
	}
	return b.Put(counterKey, withChecksum(counterKey, binary.BigEndian.AppendUint64(nil, n)))
}

// GetDocument implements storage.Documents.
func (d *Documents) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	out := storage.Document{Collection: collection, Key: key}
	if err := d.inflight.begin(ctx); err != nil {
		return storage.Document{}, err
	}
	defer d.inflight.end()
	if checkLimits(collection, key, nil) != nil {
		return storage.Document{}, notFound(collection, key)
	}
	err := d.f.view(func(tx *bbolt.Tx) error {
		b, err := bucketOf(tx, documentsBucket)
		if err != nil {
			return err
		}
		k := documentKey(collection, key)
		v := b.Get(k)
		if v == nil {
			return notFound(collection, key)
		}
		out.Version, out.Value, err = decodeDocument(k, v)
		return err
	})
	if err != nil {
		return storage.Document{}, err
	}
	return out, nil
}

func notFound(collection, key string) error {
	return fmt.Errorf("%.80s %.80q: %w", collection, key, storage.ErrNotFound)
}

// PutDocument implements storage.Documents.
func (d *Documents) PutDocument(ctx context.Context, doc storage.Document) (version uint64, err error) {
	if err := d.inflight.begin(ctx); err != nil {
		return 0, err
	}
	defer d.inflight.end()
	if err := checkLimits(doc.Collection, doc.Key, doc.Value); err != nil {
		return 0, err
	}
	k := documentKey(doc.Collection, doc.Key)
	err = d.commits.do(ctx, len(doc.Value), func(tx *bbolt.Tx) error {
		b, err := bucketAtVersion(tx, k, doc.Version)
		if err != nil {
			return err
		}
		counter, err := getCounter(tx)
		if err != nil {
			return err
		}
		version = counter + 1
		return errors.Join(putCounter(tx, version), b.Put(k, encodeDocument(k, version, doc.Value)))
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// DeleteDocument implements storage.Documents.
func (d *Documents) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	if err := d.inflight.begin(ctx); err != nil {
		return err
	}
	defer d.inflight.end()
	if checkLimits(collection, key, nil) != nil {
		return notFound(collection, key)
	}
	k := documentKey(collection, key)
	return d.commits.do(ctx, 0, func(tx *bbolt.Tx) error {
		b := tx.Bucket(documentsBucket)
		if b != nil && b.Get(k) == nil {
			return notFound(collection, key)
		}
		b, err := bucketAtVersion(tx, k, version)
		if err != nil {
			return err
		}
		return b.Delete(k)
	})
}

// bucketAtVersion returns the bucket if the document is at the expected
// version. 0 means that it does not exist. A damaged document matches only
// storage.AnyVersion.
func bucketAtVersion(tx *bbolt.Tx, key []byte, want uint64) (b *bbolt.Bucket, err error) {
	if b, err = bucketOf(tx, documentsBucket); err != nil {
		return nil, err
	}
	have := uint64(0)
	if v := b.Get(key); v != nil {
		have, _, err = decodeDocument(key, v)
	}
	switch {
	case want == storage.AnyVersion:
		return b, nil
	case err != nil:
		return nil, err
	case have != want:
		return nil, fmt.Errorf("%w: %.80q is at version %d, not %d", storage.ErrConflict, key[2:], have, want)
	}
	return b, nil
}

// ListDocuments implements storage.Documents.
func (d *Documents) ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]storage.Document, error) {
	if err := d.inflight.begin(ctx); err != nil {
		return nil, err
	}
	defer d.inflight.end()
	if checkLimits(collection, prefix, nil) != nil {
		return nil, nil // No key is that long.
	}
	var out []storage.Document
	err := d.f.view(func(tx *bbolt.Tx) error {
		b, err := bucketOf(tx, documentsBucket)
		if err != nil {
			return err
		}
		return list(b.Cursor(), collectionKey(collection), prefix, after, limit, func(key string, k, v []byte) error {
			doc := storage.Document{Collection: collection, Key: key}
			doc.Version, doc.Value, err = decodeDocument(k, v)
			out = append(out, doc)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// list calls fn with up to limit entries whose keys start with head and prefix
// and come after `after`, if that is not empty.
func list(c *bbolt.Cursor, head []byte, prefix, after string, limit int, fn func(key string, k, v []byte) error) error {
	within := append(bytes.Clone(head), prefix...)
	k, v := c.Seek(append(bytes.Clone(head), max(prefix, after)...))
	for n := 0; k != nil && n < limit && bytes.HasPrefix(k, within) && len(k) <= len(head)+storage.MaxKey; k, v = c.Next() {
		key := string(k[len(head):])
		if after != "" && key <= after {
			continue
		}
		if err := fn(key, k, v); err != nil {
			return err
		}
		n++
	}
	return nil
}

// RaiseVersions increases the next version by that much. A restored store needs
// this, because the lost one may have used later versions.
func (d *Documents) RaiseVersions(ctx context.Context, by uint64) error {
	if err := d.inflight.begin(ctx); err != nil {
		return err
	}
	defer d.inflight.end()
	return d.commits.do(ctx, 0, func(tx *bbolt.Tx) error {
		counter, err := getCounter(tx)
		if err != nil {
			return err
		}
		if by >= storage.AnyVersion-counter {
			return fmt.Errorf("%w: version %d raised by %d", storage.ErrTooLarge, counter, by)
		}
		return putCounter(tx, counter+by)
	})
}

// Close waits for running calls. It commits once more, so that both of bbolt's
// meta pages are current: if one is damaged later, bbolt silently uses the
// other.
func (d *Documents) Close() error {
	if !d.inflight.close() {
		return nil
	}
	if d.f.failed.Load() == nil && !d.f.deadlocked.Load() {
		if err := d.f.update(func(*bbolt.Tx) error { return nil }); err != nil {
			d.log.Warn("closing documents", zap.String("file", d.f.path), zap.Error(err))
		}
	}
	return d.f.close()
}

var _ storage.Documents = (*Documents)(nil)
