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
// goroutine at a time, and what it derives follows from the events alone, so that
// it can be made again.
type Projection interface {
	// Name names the table of its records.
	Name() string
	// Version rises when the same events make other records: what an earlier
	// version left is dropped and made anew, in the background.
	Version() int
	// NewValue is the value of a record that does not exist yet.
	NewValue() Value
	// Fold takes the event into account in the records that it concerns. An event
	// for which it returns an error is set aside.
	Fold(r *Records, e *event.Event) error
}

// Value is a record, decoded.
type Value interface {
	// AppendRecord appends the encoded record, less than MaxRecord in all.
	AppendRecord(dst []byte) ([]byte, error)
	// ReadRecord reads what AppendRecord wrote.
	ReadRecord(b []byte) error
}

// seqSize is the size of what every record begins with: the sequence number
// through which it is folded.
const seqSize = 8

// MaxRecord is the largest encoded value of a record.
const MaxRecord = storage.MaxValue - seqSize

// What a step may touch, and what stays decoded between steps, in bytes of encoded
// records.
const (
	stepBytes   = 4 << 20
	recentBytes = 4 << 20
	// recordBytes is what a record counts for beside its bytes.
	recordBytes = 512
)

// Records are the records of a projection while events are folded into them.
type Records struct {
	ctx     context.Context
	store   storage.Store
	p       storage.Projection
	fresh   func() Value
	floor   uint64 // records through which nothing is kept do not exist
	event   *event.Event
	touched map[string]*record
	recent  map[string]*record
	step    int64 // bytes touched
	kept    int64 // bytes in recent
}

type record struct {
	value   Value
	through uint64
	size    int64
}

// storeError is an error of the store and says nothing of the event.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// errUnreadable: a record cannot be decoded.
var errUnreadable = errors.New("unreadable record")

// For returns the value of a record for Fold to change; nil if the event is in it
// already.
func (r *Records) For(key string) (Value, error) {
	rec, ok := r.touched[key]
	if !ok {
		if rec, ok = r.recent[key]; !ok {
			var err error
			if rec, err = r.load(key); err != nil {
				return nil, err
			}
		} else {
			r.kept -= rec.size
			delete(r.recent, key)
		}
		if rec.through < r.floor {
			rec = &record{value: r.fresh(), size: recordBytes} // nothing of it is kept
		}
		r.touched[key] = rec
		r.step += rec.size
	}
	if r.event.Seq <= rec.through {
		return nil, nil
	}
	rec.through = r.event.Seq
	grown := held(r.event)
	rec.size += grown
	r.step += grown
	return rec.value, nil
}

func (r *Records) load(key string) (*record, error) {
	if len(r.p.Name)+len(key) > storage.MaxKey {
		return nil, fmt.Errorf("key of %d bytes: %w", len(key), storage.ErrTooLarge)
	}
	raw, _, err := r.store.GetRecord(r.ctx, r.p, key)
	rec := &record{value: r.fresh(), size: int64(len(raw)) + recordBytes}
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return nil, storeError{err}
	default:
		if rec.through, err = decodeRecord(raw, rec.value); err != nil {
			return nil, storeError{err}
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

// encoded are the records that were touched.
func (r *Records) encoded() ([]storage.Record, error) {
	records := make([]storage.Record, 0, len(r.touched))
	for key, rec := range r.touched {
		raw, err := rec.value.AppendRecord(binary.BigEndian.AppendUint64(nil, rec.through))
		if err != nil {
			return nil, fmt.Errorf("encoding a record of %s: %w", r.p.Name, err)
		}
		if len(raw) > storage.MaxValue {
			return nil, fmt.Errorf("record of %d bytes: %w", len(raw), storage.ErrTooLarge)
		}
		rec.size = int64(len(raw)) + recordBytes
		records = append(records, storage.Record{Key: key, Value: raw})
	}
	return records, nil
}

// keep ends a step that was written.
func (r *Records) keep() {
	for key, rec := range r.touched {
		if r.kept > recentBytes {
			clear(r.recent)
			r.kept = 0
		}
		r.recent[key] = rec
		r.kept += rec.size
	}
	clear(r.touched)
	r.step = 0
}

// forget drops a record that was deleted.
func (r *Records) forget(key string) {
	if rec := r.recent[key]; rec != nil {
		r.kept -= rec.size
		delete(r.recent, key)
	}
}

// drop forgets everything: a step failed, or others wrote; the store is the truth.
func (r *Records) drop() {
	clear(r.recent)
	clear(r.touched)
	r.step, r.kept = 0, 0
}
