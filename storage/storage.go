// Package storage defines what the event log needs from a storage engine.
// Everything that decides (batching, deduplication within a batch, projections,
// retention) is in package eventlog. Every engine passes the tests in
// storagetest.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// Errors that callers check for. Engines wrap them with %w.
var (
	// ErrNotFound means that there is no such event, document or record.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that a document or the cursor of a projection is not at
	// the expected version.
	ErrConflict = errors.New("version conflict")
	// ErrNoSpace means that the free disk space is below the reserve. Nothing was
	// written.
	ErrNoSpace = errors.New("not enough free disk space")
	// ErrBusy means that the engine is behind with its background work. Nothing
	// was written. It recovers by itself.
	ErrBusy = errors.New("store is busy")
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrFormat means that an incompatible version wrote the store.
	ErrFormat = errors.New("unsupported store format")
	// ErrBackupPosition means that the position where a backup should start does
	// not belong to this store.
	ErrBackupPosition = errors.New("the backup before is of another store")
	// ErrTooLarge means that a key or value exceeds the limits below.
	ErrTooLarge = errors.New("beyond the limits of the store")
	// ErrDamaged means that the store cannot read an event that it holds or held.
	// A DamageError says which events.
	ErrDamaged = errors.New("store is damaged")
	// ErrRebuilding means that the requested data is being rebuilt from the log.
	// A RebuildError says how far that is.
	ErrRebuilding = errors.New("derived data is being rebuilt")
	// ErrClosed means that the store was closed, or closed itself after a failed
	// write. The owner closes it and opens it again.
	ErrClosed = errors.New("store is closed")
)

// Limits of every engine. A key is counted together with the name of its
// collection or projection, so that an engine can store both in one index
// entry.
const (
	// MaxKey is the longest key of a document or record, including the name of
	// its collection, in bytes.
	MaxKey = 2 << 10
	// MaxValue is the largest value of a document or record, in bytes.
	MaxValue = 1 << 20
	// MaxBatchEvents and MaxBatchBytes limit one CommitBatch: the number of
	// events, and the bytes of bodies that Prepare did not put aside. A single
	// event may be larger.
	MaxBatchEvents = 2048
	MaxBatchBytes  = 1536 << 10
	// MaxProjectRecords is the most records that one Project writes.
	MaxProjectRecords = 4096
)

// Store is a durable log of events with documents and projections. Its methods
// may be called concurrently, except that CommitBatch has one caller at a time.
// Other processes may write to the same store if the engine allows it.
type Store interface {
	// Prepare does the work for an event that does not have to wait for its
	// batch. It reports whether the log already holds the event, and does nothing
	// else then. It may write a large body aside and sync it; it then sets
	// e.BodyRef, and e.Body to nil. An event may be committed without Prepare,
	// and a prepared event need not be committed.
	Prepare(ctx context.Context, e *event.Event) (Outcome, error)
	// Discard deletes the body that Prepare put aside for an event that will not
	// be committed.
	Discard(e *event.Event)
	// CommitBatch makes the batch durable in order with one sync, and returns one
	// outcome per event. No two events of the batch may share workspace, source,
	// dedup key and body digest. It sets Seq and PayloadMismatch of the events
	// that it wrote. Events below the floor (see Prune) count as absent. After an
	// error other than ErrNoSpace, ErrBusy and ErrClosed the outcome is unknown:
	// the caller closes the store and opens it again.
	CommitBatch(ctx context.Context, batch []*event.Event) (Commit, error)
	// Writable returns nil, or the error with which CommitBatch would refuse
	// (ErrNoSpace, ErrBusy, ErrClosed). It is cheap enough to call before every
	// append.
	Writable() error

	// Bounds returns the range of sequence numbers that the log holds.
	Bounds(ctx context.Context) (Bounds, error)
	// Follow waits until any process has committed events after `after`, and
	// returns the last committed sequence number.
	Follow(ctx context.Context, after uint64) (head uint64, err error)
	// Get returns one event with its body, or ErrNotFound or ErrDamaged.
	Get(ctx context.Context, seq uint64) (*event.Event, error)
	// Scan calls fn with the events after `after` and up to `through`, ascending
	// and without bodies, until fn returns false. If events cannot be read, it
	// returns a DamageError after it has called fn with the events before them.
	// The caller may continue after the error's Last.
	Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error
	// Query lists events. It finds everything that was committed before the call.
	// Events that cannot be read are left out; Health reports them.
	Query(ctx context.Context, q Query) (Page, error)

	// Prune moves the floor beyond the last event whose LoggedAt is before
	// `before`, and returns how many events were removed. They are gone at once,
	// from lists and as originals of duplicates, even after a crash. The engine
	// frees their disk space later.
	Prune(ctx context.Context, before time.Time) (n int, err error)

	Documents
	Projections

	// Backup writes everything that changed since the position `since`, which an
	// earlier backup returned ("" means everything), and returns the position for
	// the next backup. It returns ErrBackupPosition, and writes nothing, if the
	// position does not belong to this store.
	Backup(ctx context.Context, w io.Writer, since string) (next string, err error)
	// Usage returns the resources that the store uses.
	Usage(ctx context.Context) (Usage, error)
	// Health returns the problems of a store that is still working.
	Health() Health
	Close() error
}

// Outcome is the result for one event of a batch.
type Outcome struct {
	// Seq is the sequence number of the event. For a duplicate it is that of the
	// original.
	Seq uint64
	// Duplicate means that the log already held the event and nothing was
	// written.
	Duplicate bool
}

// Commit is the result of a batch.
type Commit struct {
	// Before is the last sequence number that was committed before the batch.
	// Numbers between it and the first event of the batch do not exist.
	Before uint64
	// Outcomes has one entry per event, in order.
	Outcomes []Outcome
}

// Bounds is the range of sequence numbers of a log.
type Bounds struct {
	// First is the first sequence number that is kept and Last the last committed
	// one. Both are 0 in a log that never held an event. First is greater than
	// Last if all events were pruned.
	First, Last uint64
	// Skipped are ranges of sequence numbers that this log will never hold,
	// because it was restored from a backup and the lost store may have used
	// them. They ascend. Ranges below First may be left out.
	Skipped []Range
}

// Range is a range of sequence numbers, including both ends.
type Range struct{ First, Last uint64 }

// Query selects a page of events.
type Query struct {
	Filter event.Filter
	// Ascending lists oldest first; otherwise newest first.
	Ascending bool
	// After is the last event of the previous page, or 0 for the first page.
	After uint64
	// Limit is the maximum number of events; at least 1.
	Limit int
}

// Page is a page of events, without bodies.
type Page struct {
	Events []*event.Event
	// Next is the After of the next page, or 0 at the end. An engine may end a
	// page early to limit its work, so only Next says whether there is more.
	Next uint64
}

// Document is a small record of a collection.
type Document struct {
	Collection, Key string
	Value           []byte
	// Version increases with every write of the document. 0 means that it does
	// not exist.
	Version uint64
}

// AnyVersion as an expected version skips the check.
const AnyVersion = ^uint64(0)

// Documents are small records in named collections, ordered by key. Each has a
// version for compare-and-set. Writes are durable when the call returns. Keys
// and values beyond MaxKey and MaxValue return ErrTooLarge.
type Documents interface {
	// GetDocument returns a document, or ErrNotFound.
	GetDocument(ctx context.Context, collection, key string) (Document, error)
	// PutDocument writes d.Value if the document's version is d.Version (0: it
	// must not exist; AnyVersion: always), and returns the new version.
	PutDocument(ctx context.Context, d Document) (version uint64, err error)
	// DeleteDocument deletes a document that is at that version. It returns
	// ErrNotFound if there is none.
	DeleteDocument(ctx context.Context, collection, key string, version uint64) error
	// ListDocuments returns up to limit documents whose keys begin with prefix
	// and come after `after`, ordered by key.
	ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]Document, error)
}

// Projection names a table of records that is derived from the log. Only one
// version exists per name: opening another version drops its records.
type Projection struct {
	Name    string
	Version int
}

// Record is one entry of a projection.
type Record struct {
	Key string
	// Value is nil to delete the record.
	Value []byte
}

// Projections are records that are derived from the log and can be rebuilt from
// it. An engine may lose all records of a projection at any time; the cursor is
// 0 then. Writes need not be synced.
type Projections interface {
	// OpenProjection drops the records of p.Name that another version wrote, and
	// returns the cursor: every event up to it is applied.
	OpenProjection(ctx context.Context, p Projection) (cursor uint64, err error)
	// DropProjection drops the records of p.Name of any version. The cursor is 0
	// afterwards.
	DropProjection(ctx context.Context, p Projection) error
	// Project writes the records and moves the cursor to s.Through, atomically.
	// It returns ErrConflict if the cursor is not at s.From or another version
	// was opened. It returns ErrTooLarge and writes nothing if a record or the
	// number of records exceeds the limits.
	Project(ctx context.Context, s Step) error
	// GetRecord returns a record's value and the cursor at that moment. It
	// returns ErrNotFound, with the cursor, if there is none.
	GetRecord(ctx context.Context, p Projection, key string) (value []byte, cursor uint64, err error)
	// ListRecords returns up to limit records whose keys begin with prefix and
	// come after `after`, ordered by key, and the cursor.
	ListRecords(ctx context.Context, p Projection, prefix, after string, limit int) (records []Record, cursor uint64, err error)
}

// Step is one step of a projection.
type Step struct {
	Projection Projection
	// From must be the current cursor. Through is the new one.
	From, Through uint64
	// Records replace those of the same keys.
	Records []Record
}

// Usage is the disk space that a store uses. An engine leaves unknown values at
// 0.
type Usage struct {
	// DiskBytes is the size of the store's files.
	DiskBytes int64
	// FreeBytes is the free space of the file system, and ReserveBytes the free
	// space below which commits are refused.
	FreeBytes, ReserveBytes int64
}

// Health lists the problems of a store that is still working.
type Health struct {
	// Damaged are the events that cannot be read.
	Damaged []Range
	// Repaired are files whose damaged part was rebuilt from the rest. No data is
	// lost, but the disk is not reliable.
	Repaired []string
	// Rebuilding is the data that is being rebuilt. Reading it returns
	// ErrRebuilding.
	Rebuilding []RebuildError
}

// DamageError is an ErrDamaged with the events that cannot be read.
type DamageError struct {
	Range
	// Where is the path of the file.
	Where string
	Err   error
}

// Error names the events and the file that holds them.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: events %d to %d in %s: %v", ErrDamaged, e.First, e.Last, e.Where, e.Err)
}

// Unwrap makes it an ErrDamaged.
func (e *DamageError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// RebuildError is an ErrRebuilding with its progress.
type RebuildError struct {
	// Part is what is rebuilt: "index", or the name of a projection.
	Part string
	// Done and Total count events.
	Done, Total uint64
}

// Error names what is rebuilt and how far it is.
func (e *RebuildError) Error() string {
	return fmt.Sprintf("%v: %s, %d of %d events", ErrRebuilding, e.Part, e.Done, e.Total)
}

// Unwrap makes it an ErrRebuilding.
func (e *RebuildError) Unwrap() error { return ErrRebuilding }
