// Package storage says what the event log needs from an engine. Everything that
// decides (batching, idempotency within a batch, what is projected, when events
// expire) stands above it in package eventlog; every engine passes the suite in
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

// Errors that callers branch on. Engines wrap them with %w.
var (
	// ErrNotFound: no such event, document or record.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a document, or the cursor of a projection, is not at the
	// version that was asked for.
	ErrConflict = errors.New("version conflict")
	// ErrNoSpace: the disk is below its reserve, nothing was written.
	ErrNoSpace = errors.New("not enough free disk space")
	// ErrBusy: the engine has fallen behind with work that it does in the
	// background, nothing was written. It catches up by itself.
	ErrBusy = errors.New("store is busy")
	// ErrLocked: another process holds the store.
	ErrLocked = errors.New("store is in use by another process")
	// ErrFormat: the store was written by an incompatible version.
	ErrFormat = errors.New("unsupported store format")
	// ErrPoint: the point in time that a backup should go on from is none of this
	// store's.
	ErrBackupPosition = errors.New("the backup before is of another store")
	// ErrTooLarge: a key or value is beyond the limits below.
	ErrTooLarge = errors.New("beyond the limits of the store")
	// ErrDamaged: the store holds the event, or did, and cannot read it. A
	// DamageError says which events these are.
	ErrDamaged = errors.New("store is damaged")
	// ErrRebuilding: what was asked for is being made anew from the log. A
	// RebuildError says how far that is.
	ErrRebuilding = errors.New("derived data is being rebuilt")
	// ErrClosed: the store was closed, or closed itself after a failed write: the
	// owner closes it and opens it anew.
	ErrClosed = errors.New("store is closed")
)

// Limits that every engine keeps. A key and its collection, or projection, are
// counted together, so that engines can hold both in one index entry.
const (
	// MaxKey is the longest key of a document or record with the name of its
	// collection, in bytes.
	MaxKey = 2 << 10
	// MaxValue is the largest value of a document or record, in bytes.
	MaxValue = 1 << 20
	// MaxBatchEvents and MaxBatchBytes are the most that CommitBatch takes at
	// once: events, and bytes of bodies that Prepare did not put aside. One event
	// alone may be larger.
	MaxBatchEvents = 2048
	MaxBatchBytes  = 1536 << 10
	// MaxProjectRecords is the most records that one Project writes.
	MaxProjectRecords = 4096
)

// Store is a durable log of events with its documents and projections. Methods
// may be called at once from several goroutines, save that CommitBatch has one
// caller at a time. Other processes may write to the same store, where the
// engine allows it.
type Store interface {
	// Prepare does for an event what need not wait for its turn in a batch. It
	// tells if the log already holds the event; then nothing else was done. It may
	// write a large body aside, synced, and then sets e.BodyRef and e.Body to nil.
	// An event need not be prepared before it is committed, and one that was
	// prepared need not be committed.
	Prepare(ctx context.Context, e *event.Event) (Outcome, error)
	// Discard gives up the body that Prepare has put aside for an event that was not
	// committed and will not be: it was a duplicate after all, or was refused.
	Discard(e *event.Event)
	// CommitBatch makes the batch durable, in order, and returns one outcome an
	// event, after one sync. Within the batch no two events share workspace,
	// source, dedup key and body digest. It sets Seq and PayloadMismatch of the
	// events that it wrote. Events below the floor (see Prune) count as not
	// there. An error other than ErrNoSpace, ErrBusy and ErrClosed leaves the
	// outcome unknown: the caller closes the store and opens it anew.
	CommitBatch(ctx context.Context, batch []*event.Event) (Commit, error)
	// Writable is nil, or why CommitBatch would refuse now (ErrNoSpace, ErrBusy,
	// ErrClosed). It is cheap enough to ask before every append.
	Writable() error

	// Bounds tell which part of the sequence the log holds.
	Bounds(ctx context.Context) (Bounds, error)
	// Follow waits until events after `after` are committed, by whatever process,
	// and returns the last committed sequence number.
	Follow(ctx context.Context, after uint64) (head uint64, err error)
	// Get reads one event with its body; ErrNotFound, or ErrDamaged.
	Get(ctx context.Context, seq uint64) (*event.Event, error)
	// Scan calls fn with the events after `after` up to and including `through`,
	// ascending, without bodies, until fn returns false. Where it meets events
	// that it cannot read it returns a DamageError after it has called fn with
	// those before them: the caller may go on after its Last.
	Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error
	// Query lists events. Everything that was committed before the call is found.
	// What cannot be read is left out; Health tells of it.
	Query(ctx context.Context, q Query) (Page, error)

	// Prune moves the floor beyond the last event whose LoggedAt is before
	// `before`, and returns how many events went. They are gone at once and for
	// good, from lists and as originals of duplicates, also after a crash. The
	// engine gives their disk space back in its own time.
	Prune(ctx context.Context, before time.Time) (n int, err error)

	Documents
	Projections

	// Backup writes everything that changed since the point `since`, which an
	// earlier one returned ("": all), and returns the point to pass next time. It
	// returns ErrPoint, and has written nothing, where that was no backup of this
	// store.
	Backup(ctx context.Context, w io.Writer, since string) (next string, err error)
	// Usage tells what the store takes.
	Usage(ctx context.Context) (Usage, error)
	// Health tells what is wrong with the store while it goes on.
	Health() Health
	Close() error
}

// Outcome of one event of a batch.
type Outcome struct {
	// Seq is the event's, or the original's if it is a duplicate.
	Seq uint64
	// Duplicate: the log already held it and nothing was written.
	Duplicate bool
}

// Commit is the outcome of a batch.
type Commit struct {
	// Before is the last sequence number that was committed before this batch:
	// what lies between it and the batch's first event does not exist.
	Before uint64
	// Outcomes are one an event of the batch, in its order.
	Outcomes []Outcome
}

// Bounds of the log.
type Bounds struct {
	// First is the first sequence number that is kept and Last the last one that
	// was committed; both 0 in a log that never held an event, and First > Last
	// when retention took everything.
	First, Last uint64
	// Skipped are the ranges of sequence numbers that this log will never hold
	// because it was restored from a backup: the store that was lost may have
	// issued them. Ascending; below First they may be left out.
	Skipped []Range
}

// Range is a run of sequence numbers, both ends inclusive.
type Range struct{ First, Last uint64 }

// Query asks for a page of events.
type Query struct {
	Filter event.Filter
	// Ascending lists oldest first; otherwise newest first.
	Ascending bool
	// After is the last event of the page before, or 0 for the first page.
	After uint64
	// Limit is the most events to return; at least 1.
	Limit int
}

// Page of events, without bodies.
type Page struct {
	Events []*event.Event
	// Next is what to pass as After for the page that follows, or 0 at the end.
	// An engine may end a page early to bound its work: only Next says whether
	// there is more.
	Next uint64
}

// Document is a small record of a collection.
type Document struct {
	Collection, Key string
	Value           []byte
	// Version rises with every write of the document; 0 means it does not exist.
	Version uint64
}

// AnyVersion as a version skips the check.
const AnyVersion = ^uint64(0)

// Documents are small records in named collections, ordered by key, with a
// version each for compare-and-set. Writes are durable when the call returns.
// Keys and values are within MaxKey and MaxValue, else ErrTooLarge.
type Documents interface {
	// GetDocument returns ErrNotFound for what does not exist.
	GetDocument(ctx context.Context, collection, key string) (Document, error)
	// PutDocument writes d.Value if the document's version is d.Version (0: it
	// must not exist; AnyVersion: always) and returns the new version.
	PutDocument(ctx context.Context, d Document) (version uint64, err error)
	// DeleteDocument removes a document at that version; ErrNotFound if there
	// is none.
	DeleteDocument(ctx context.Context, collection, key string, version uint64) error
	// ListDocuments returns up to limit documents whose keys begin with prefix
	// and come after `after`, in the order of their keys.
	ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]Document, error)
}

// Projection names a table of records that is derived from the log. Of a name
// one version exists: the records of another are dropped when it is opened.
type Projection struct {
	Name    string
	Version int
}

// Record is one entry of a projection.
type Record struct {
	Key string
	// Value is nil where the record is deleted.
	Value []byte
}

// Projections are records that are derived from the log and can be made from it
// again: an engine may lose all of a projection at any time, and then its cursor
// is 0. Writes need not be synced.
type Projections interface {
	// OpenProjection drops the records of p.Name that another version wrote, and
	// returns the cursor: everything up to it is in the records.
	OpenProjection(ctx context.Context, p Projection) (cursor uint64, err error)
	// DropProjection drops the records of p.Name, whatever version wrote them: the
	// cursor is 0 from then on.
	DropProjection(ctx context.Context, p Projection) error
	// Project writes records and moves the cursor to s.Through, all or none.
	// ErrConflict if the cursor is not at s.From, or another version was opened
	// since. ErrTooLarge, and nothing is written, where a record or their number
	// is beyond the limits.
	Project(ctx context.Context, s Step) error
	// GetRecord returns the record's value and the cursor at that moment;
	// ErrNotFound (with the cursor) for what does not exist.
	GetRecord(ctx context.Context, p Projection, key string) (value []byte, cursor uint64, err error)
	// ListRecords returns up to limit records whose keys begin with prefix and
	// come after `after`, in the order of their keys, and the cursor.
	ListRecords(ctx context.Context, p Projection, prefix, after string, limit int) (records []Record, cursor uint64, err error)
}

// Step is one step of a projection.
type Step struct {
	Projection Projection
	// From must be the cursor as it is.
	From, Through uint64
	// Records to write, whatever they were.
	Records []Record
}

// Usage is what a store takes on disk and in memory. Engines leave at 0 what
// they cannot tell.
type Usage struct {
	// DiskBytes is the size of the store's files.
	DiskBytes int64
	// FreeBytes is what the file system has left, ReserveBytes below which
	// commits are refused.
	FreeBytes, ReserveBytes int64
}

// Health is what is wrong with a store that goes on nevertheless.
type Health struct {
	// Damaged are the events that cannot be read.
	Damaged []Range
	// Repaired are files of which a part was damaged and made again from the rest.
	// Nothing is lost; the disk is not to be trusted.
	Repaired []string
	// Rebuilding is what is being made anew; ErrRebuilding answers who asks for it.
	Rebuilding []RebuildError
}

// DamageError is an ErrDamaged that says which events cannot be read.
type DamageError struct {
	Range
	// Where is the file.
	Where string
	Err   error
}

// Error names the events and the file that holds them.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: events %d to %d in %s: %v", ErrDamaged, e.First, e.Last, e.Where, e.Err)
}

// Unwrap makes it an ErrDamaged.
func (e *DamageError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// RebuildError is an ErrRebuilding that says how far it is.
type RebuildError struct {
	// Part is what is rebuilt: "index", or the name of a projection.
	Part string
	// Done and Total are events.
	Done, Total uint64
}

// Error names what is rebuilt and how far it is.
func (e *RebuildError) Error() string {
	return fmt.Sprintf("%v: %s, %d of %d events", ErrRebuilding, e.Part, e.Done, e.Total)
}

// Unwrap makes it an ErrRebuilding.
func (e *RebuildError) Unwrap() error { return ErrRebuilding }
