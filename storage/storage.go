// Package storage says what the event log needs from an engine. Everything that
// decides (batching, idempotency within a batch, projections, retention) stands
// above it in package eventlog; every engine passes the suite in storagetest.
package storage

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// Errors that callers branch on. Engines wrap them with %w.
var (
	// ErrNotFound: no such event or document.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a document is not at the version that was asked for.
	ErrConflict = errors.New("version conflict")
	// ErrNoSpace: the disk is below its reserve, nothing was written.
	ErrNoSpace = errors.New("not enough free disk space")
	// ErrLocked: another process holds the store.
	ErrLocked = errors.New("store is in use by another process")
	// ErrFormat: the store was written by an incompatible version.
	ErrFormat = errors.New("unsupported store format")
	// ErrPoint: the point in time that a backup should go on from is none of this
	// store's.
	ErrPoint = errors.New("the backup before is of another store")
	// ErrTooLarge: a Projection does not fit one transaction; split it.
	ErrTooLarge = errors.New("projection too large for one transaction")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// Store is a durable log of events with its indexes and documents. Methods may
// be called at once from several goroutines, save that CommitBatch, Project and
// Prune each have one caller at a time.
type Store interface {
	// CommitBatch makes the batch durable, in order, and returns one outcome an
	// event, after one sync. Within the batch no two events share workspace,
	// source, dedup key and body digest. It sets Seq and PayloadMismatch of the
	// events that it wrote. An error other than ErrNoSpace and ErrClosed leaves
	// the outcome unknown: the caller closes the store and opens it anew.
	CommitBatch(ctx context.Context, batch []*event.Event) ([]Outcome, error)
	// Writable is nil, or why CommitBatch would refuse now (ErrNoSpace). It is
	// cheap enough to ask before every append.
	Writable() error

	// Bounds are the first sequence number that is kept and the last one that
	// was committed; both 0 in an empty log, and First = Last+1 when retention
	// took everything.
	Bounds(ctx context.Context) (Bounds, error)
	// Get reads one event with its body, or ErrNotFound.
	Get(ctx context.Context, seq uint64) (*event.Event, error)
	// Scan calls fn with the events after `after` up to and including `through`,
	// ascending, without bodies, until fn returns false.
	Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error
	// Query lists what has been projected.
	Query(ctx context.Context, q Query) (Page, error)

	// Projected is the cursor of Project: everything up to it is in the indexes.
	Projected(ctx context.Context) (uint64, error)
	// Project writes index entries and documents and moves the cursor to
	// p.Through, in one transaction. It need not be synced: what a crash takes
	// is projected again.
	Project(ctx context.Context, p Projection) error

	// Prune forgets events from the front of the log, with their dedup keys and
	// index entries: those received before `before`, stopping at the first that
	// was not, at `through`, or after about `limit` events. more tells that it
	// stopped at the limit.
	Prune(ctx context.Context, before time.Time, through uint64, limit int) (n int, more bool, err error)

	Documents

	// Backup writes everything that changed since the point `since`, which an
	// earlier one returned ("": all), and returns the point to pass next time. It
	// returns ErrPoint, and has written nothing, where that was no backup of this
	// store.
	Backup(ctx context.Context, w io.Writer, since string) (next string, err error)
	// Usage tells what the store takes.
	Usage(ctx context.Context) (Usage, error)
	Close() error
}

// Outcome of one event of a batch.
type Outcome struct {
	// Seq is the event's, or the original's if it is a duplicate.
	Seq uint64
	// Duplicate: the log already held it and nothing was written.
	Duplicate bool
}

// Bounds of the log.
type Bounds struct{ First, Last uint64 }

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

// Projection is one step of the projector.
type Projection struct {
	// From must be the cursor as it is; else ErrConflict.
	From, Through uint64
	// Events are all events in (From, Through].
	Events []*event.Event
	// Documents to write, whatever version they have; a nil Value deletes.
	Documents []Document
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

// Usage is what a store takes on disk and in memory. Engines leave at 0 what
// they cannot tell.
type Usage struct {
	// DiskBytes is the size of the store's files.
	DiskBytes int64
	// FreeBytes is what the file system has left, ReserveBytes below which
	// commits are refused.
	FreeBytes, ReserveBytes int64
}
