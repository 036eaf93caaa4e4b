package eventlog

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// storeHandle wraps the open store. It checks the error of every call: if the
// store has closed itself, it tells the log, which reopens the store.
type storeHandle struct {
	storage.Store
	reportedClosed atomic.Bool   // The log was told.
	storeClosed    chan struct{} // Signals the committer, which reopens the store.
}

func (g *storeHandle) check(err error) error {
	if err != nil && errors.Is(err, storage.ErrClosed) && !g.reportedClosed.Swap(true) {
		signal(g.storeClosed)
	}
	return err
}

func (g *storeHandle) Prepare(ctx context.Context, e *event.Event) (storage.Outcome, error) {
	o, err := g.Store.Prepare(ctx, e)
	return o, g.check(err)
}

func (g *storeHandle) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	c, err := g.Store.CommitBatch(ctx, batch)
	return c, g.check(err)
}

func (g *storeHandle) Writable() error { return g.check(g.Store.Writable()) }

func (g *storeHandle) Bounds(ctx context.Context) (storage.Bounds, error) {
	b, err := g.Store.Bounds(ctx)
	return b, g.check(err)
}

func (g *storeHandle) Follow(ctx context.Context, after uint64) (uint64, error) {
	head, err := g.Store.Follow(ctx, after)
	return head, g.check(err)
}

func (g *storeHandle) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	e, err := g.Store.Get(ctx, seq)
	return e, g.check(err)
}

func (g *storeHandle) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	return g.check(g.Store.Scan(ctx, after, through, fn))
}

func (g *storeHandle) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	page, err := g.Store.Query(ctx, q)
	return page, g.check(err)
}

func (g *storeHandle) Prune(ctx context.Context, before time.Time) (int, error) {
	n, err := g.Store.Prune(ctx, before)
	return n, g.check(err)
}

func (g *storeHandle) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	d, err := g.Store.GetDocument(ctx, collection, key)
	return d, g.check(err)
}

func (g *storeHandle) PutDocument(ctx context.Context, d storage.Document) (uint64, error) {
	version, err := g.Store.PutDocument(ctx, d)
	return version, g.check(err)
}

func (g *storeHandle) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	return g.check(g.Store.DeleteDocument(ctx, collection, key, version))
}

func (g *storeHandle) ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]storage.Document, error) {
	docs, err := g.Store.ListDocuments(ctx, collection, prefix, after, limit)
	return docs, g.check(err)
}

func (g *storeHandle) OpenProjection(ctx context.Context, p storage.Projection) (uint64, error) {
	cursor, err := g.Store.OpenProjection(ctx, p)
	return cursor, g.check(err)
}

func (g *storeHandle) DropProjection(ctx context.Context, p storage.Projection) error {
	return g.check(g.Store.DropProjection(ctx, p))
}

func (g *storeHandle) Project(ctx context.Context, s storage.Step) error {
	return g.check(g.Store.Project(ctx, s))
}

func (g *storeHandle) GetRecord(ctx context.Context, p storage.Projection, key string) ([]byte, uint64, error) {
	value, cursor, err := g.Store.GetRecord(ctx, p, key)
	return value, cursor, g.check(err)
}

func (g *storeHandle) ListRecords(ctx context.Context, p storage.Projection, prefix, after string, limit int) ([]storage.Record, uint64, error) {
	records, cursor, err := g.Store.ListRecords(ctx, p, prefix, after, limit)
	return records, cursor, g.check(err)
}

func (g *storeHandle) Backup(ctx context.Context, w io.Writer, since string) (string, error) {
	next, err := g.Store.Backup(ctx, w, since)
	return next, g.check(err)
}

func (g *storeHandle) Usage(ctx context.Context) (storage.Usage, error) {
	u, err := g.Store.Usage(ctx)
	return u, g.check(err)
}

// Interface guard
var _ storage.Store = (*storeHandle)(nil)
