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

// guarded is the store as everybody gets it. Whoever meets a store that has
// closed itself, with whatever call, makes the log open it anew.
type guarded struct {
	storage.Store
	closed  atomic.Bool   // it said so
	trouble chan struct{} // tells the committer, which reopens
}

func (g *guarded) check(err error) error {
	if err != nil && errors.Is(err, storage.ErrClosed) && !g.closed.Swap(true) {
		signal(g.trouble)
	}
	return err
}

func (g *guarded) Prepare(ctx context.Context, e *event.Event) (storage.Outcome, error) {
	o, err := g.Store.Prepare(ctx, e)
	return o, g.check(err)
}

func (g *guarded) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	c, err := g.Store.CommitBatch(ctx, batch)
	return c, g.check(err)
}

func (g *guarded) Writable() error { return g.check(g.Store.Writable()) }

func (g *guarded) Bounds(ctx context.Context) (storage.Bounds, error) {
	b, err := g.Store.Bounds(ctx)
	return b, g.check(err)
}

func (g *guarded) Follow(ctx context.Context, after uint64) (uint64, error) {
	head, err := g.Store.Follow(ctx, after)
	return head, g.check(err)
}

func (g *guarded) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	e, err := g.Store.Get(ctx, seq)
	return e, g.check(err)
}

func (g *guarded) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	return g.check(g.Store.Scan(ctx, after, through, fn))
}

func (g *guarded) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	page, err := g.Store.Query(ctx, q)
	return page, g.check(err)
}

func (g *guarded) Prune(ctx context.Context, before time.Time) (int, error) {
	n, err := g.Store.Prune(ctx, before)
	return n, g.check(err)
}

func (g *guarded) GetDocument(ctx context.Context, collection, key string) (storage.Document, error) {
	d, err := g.Store.GetDocument(ctx, collection, key)
	return d, g.check(err)
}

func (g *guarded) PutDocument(ctx context.Context, d storage.Document) (uint64, error) {
	version, err := g.Store.PutDocument(ctx, d)
	return version, g.check(err)
}

func (g *guarded) DeleteDocument(ctx context.Context, collection, key string, version uint64) error {
	return g.check(g.Store.DeleteDocument(ctx, collection, key, version))
}

func (g *guarded) ListDocuments(ctx context.Context, collection, prefix, after string, limit int) ([]storage.Document, error) {
	docs, err := g.Store.ListDocuments(ctx, collection, prefix, after, limit)
	return docs, g.check(err)
}

func (g *guarded) OpenProjection(ctx context.Context, p storage.Projection) (uint64, error) {
	cursor, err := g.Store.OpenProjection(ctx, p)
	return cursor, g.check(err)
}

func (g *guarded) DropProjection(ctx context.Context, p storage.Projection) error {
	return g.check(g.Store.DropProjection(ctx, p))
}

func (g *guarded) Project(ctx context.Context, s storage.Step) error {
	return g.check(g.Store.Project(ctx, s))
}

func (g *guarded) GetRecord(ctx context.Context, p storage.Projection, key string) ([]byte, uint64, error) {
	value, cursor, err := g.Store.GetRecord(ctx, p, key)
	return value, cursor, g.check(err)
}

func (g *guarded) ListRecords(ctx context.Context, p storage.Projection, prefix, after string, limit int) ([]storage.Record, uint64, error) {
	records, cursor, err := g.Store.ListRecords(ctx, p, prefix, after, limit)
	return records, cursor, g.check(err)
}

func (g *guarded) Backup(ctx context.Context, w io.Writer, since string) (string, error) {
	next, err := g.Store.Backup(ctx, w, since)
	return next, g.check(err)
}

func (g *guarded) Usage(ctx context.Context) (storage.Usage, error) {
	u, err := g.Store.Usage(ctx)
	return u, g.check(err)
}

// Interface guard
var _ storage.Store = (*guarded)(nil)
