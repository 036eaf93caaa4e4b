package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Projection derives records from the log. Its methods are called by one
// goroutine at a time. The records must depend on the events only, so that they
// can be rebuilt.
type Projection interface {
	// Name returns the name of the table of its records.
	Name() string
	// Version must be increased when the same events produce other records. The
	// records of an earlier version are dropped and rebuilt in the background.
	Version() int
	// NewValue returns the value of a record that does not exist yet.
	NewValue() Value
	// Fold applies the event to the records that it concerns. An event for which
	// it returns an error is set aside.
	Fold(r *Records, e *event.Event) error
}

// Value is a decoded record.
type Value interface {
	// AppendRecord appends the encoded record. It may be MaxRecord bytes long.
	AppendRecord(dst []byte) ([]byte, error)
	// ReadRecord decodes what AppendRecord wrote.
	ReadRecord(b []byte) error
}

// seqSize is the size of a record's prefix: the sequence number of the last
// event that was folded into it.
const seqSize = 8

// MaxRecord is the largest encoded value of a record.
const MaxRecord = storage.MaxValue - seqSize

// Limits in bytes of encoded records: stepBytes for the records of one step,
// cacheBytes for decoded records that are kept between steps.
const (
	stepBytes  = 4 << 20
	cacheBytes = 4 << 20
	// recordOverhead is added to the size of each record.
	recordOverhead = 512
)

// Records are the records of a projection while events are folded into them.
type Records struct {
	ctx       context.Context
	store     storage.Store
	p         storage.Projection
	newValue  func() Value
	floor     uint64 // Records without an event from here on do not exist.
	event     *event.Event
	touched   map[string]*record
	cache     map[string]*record
	stepSize  int64 // Bytes of touched records.
	cacheSize int64 // Bytes of cached records.
}

type record struct {
	value   Value
	through uint64
	size    int64
}

// storageError is an error of the store, which no event caused.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// errUnreadable means that a record cannot be decoded.
var errUnreadable = errors.New("unreadable record")

// For returns the value of a record for Fold to change. It returns nil if the
// event was folded into the record before.
func (r *Records) For(key string) (Value, error) {
	rec, ok := r.touched[key]
	if !ok {
		if rec, ok = r.cache[key]; !ok {
			var err error
			if rec, err = r.load(key); err != nil {
				return nil, err
			}
		} else {
			r.cacheSize -= rec.size
			delete(r.cache, key)
		}
		if rec.through < r.floor {
			rec = &record{value: r.newValue(), size: recordOverhead} // nothing of it is kept
		}
		r.touched[key] = rec
		r.stepSize += rec.size
	}
	if r.event.Seq <= rec.through {
		return nil, nil
	}
	rec.through = r.event.Seq
	grown := memorySize(r.event)
	rec.size += grown
	r.stepSize += grown
	return rec.value, nil
}

func (r *Records) load(key string) (*record, error) {
	if len(r.p.Name)+len(key) > storage.MaxKey {
		return nil, fmt.Errorf("key of %d bytes: %w", len(key), storage.ErrTooLarge)
	}
	raw, _, err := r.store.GetRecord(r.ctx, r.p, key)
	rec := &record{value: r.newValue(), size: int64(len(raw)) + recordOverhead}
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return nil, storageError{err}
	default:
		if rec.through, err = decodeRecord(raw, rec.value); err != nil {
			return nil, storageError{err}
		}
	}
	return rec, nil
}

func decodeRecord(raw []byte, v Value) (through uint64, err error) {
	if len(raw) < seqSize {
		return 0, errUnreadable
	}
	if err := v.ReadRecord(raw[seqSize:]); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return binary.BigEndian.Uint64(raw), nil
}

// fold folds one event.
func (r *Records) fold(p Projection, e *event.Event) error {
	r.event = e
	return p.Fold(r, e)
}

// encode returns the touched records in encoded form.
func (r *Records) encode() ([]storage.Record, error) {
	records := make([]storage.Record, 0, len(r.touched))
	for key, rec := range r.touched {
		raw, err := rec.value.AppendRecord(binary.BigEndian.AppendUint64(nil, rec.through))
		if err != nil {
			return nil, fmt.Errorf("encoding a record of %s: %w", r.p.Name, err)
		}
		if len(raw) > storage.MaxValue {
			return nil, fmt.Errorf("record of %d bytes: %w", len(raw), storage.ErrTooLarge)
		}
		rec.size = int64(len(raw)) + recordOverhead
		records = append(records, storage.Record{Key: key, Value: raw})
	}
	return records, nil
}

// commit ends a step that was written.
func (r *Records) commit() {
	for key, rec := range r.touched {
		if r.cacheSize > cacheBytes {
			clear(r.cache)
			r.cacheSize = 0
		}
		r.cache[key] = rec
		r.cacheSize += rec.size
	}
	clear(r.touched)
	r.stepSize = 0
}

// forget drops a record that was deleted.
func (r *Records) forget(key string) {
	if rec := r.cache[key]; rec != nil {
		r.cacheSize -= rec.size
		delete(r.cache, key)
	}
}

// reset drops all records, because a step failed or another process has
// written. They are read again from the store.
func (r *Records) reset() {
	clear(r.cache)
	clear(r.touched)
	r.stepSize, r.cacheSize = 0, 0
}
