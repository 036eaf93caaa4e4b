package eventlog_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// crowded has no space for projections while full, and none for events while it
// is short of space.
type crowded struct {
	storage.Store
	full, short atomic.Bool
}

func (c *crowded) Project(ctx context.Context, p storage.Projection) error {
	if c.full.Load() {
		return storage.ErrNoSpace
	}
	return c.Store.Project(ctx, p)
}

func (c *crowded) Writable() error {
	if c.short.Load() {
		return storage.ErrNoSpace
	}
	return c.Store.Writable()
}

// closing closes to all when a projection fails.
type closing struct {
	storage.Store
	broken atomic.Bool
}

func (c *closing) Project(ctx context.Context, p storage.Projection) error {
	c.broken.Store(true)
	return errors.New("no file descriptors")
}

func (c *closing) Projected(ctx context.Context) (uint64, error) {
	if c.broken.Load() {
		return 0, storage.ErrClosed
	}
	return c.Store.Projected(ctx)
}

// TestReopenAfterFailedProjection: a store that closed itself is opened again
// without an event having to come.
func TestReopenAfterFailedProjection(t *testing.T) {
	mem, opened := memstore.New(), 0
	l := open(t, eventlog.Options{Open: func() (storage.Store, error) {
		if opened++; opened == 1 {
			return &closing{Store: mem}, nil
		}
		return mem.Reopen(), nil
	}})
	if _, err := l.Append(t.Context(), newEvent("k", "body")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		page, err := l.Query(ctx, storage.Query{Limit: 10})
		if err == nil && len(page.Events) == 1 {
			break
		}
		if err != nil && !errors.Is(err, eventlog.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// TestFullDiskStillLists: a projector without space keeps nobody waiting, and
// catches up by itself.
func TestFullDiskStillLists(t *testing.T) {
	store := &crowded{Store: memstore.New()}
	l, err := eventlog.Open(eventlog.Options{Open: func() (storage.Store, error) { return store, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	list := func() int {
		t.Helper()
		page, err := l.Query(ctx, storage.Query{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Events)
	}
	if _, err := l.Append(ctx, newEvent("before", "1")); err != nil {
		t.Fatal(err)
	}
	if n := list(); n != 1 {
		t.Fatalf("%d events are listed, want 1", n)
	}
	store.full.Store(true)
	if _, err := l.Append(ctx, newEvent("meanwhile", "2")); err != nil {
		t.Fatal(err)
	}
	store.short.Store(true)
	if n := list(); n != 1 {
		t.Errorf("on a full disk %d events are listed, want the one that was indexed", n)
	}
	// As soon as there is space, reads see what was written.
	store.full.Store(false)
	store.short.Store(false)
	if n := list(); n != 2 {
		t.Errorf("with space again %d events are listed, want 2", n)
	}
	if _, err := l.Append(ctx, newEvent("after", "3")); err != nil {
		t.Fatal(err)
	}
	if n := list(); n != 3 {
		t.Errorf("%d events are listed, want 3", n)
	}
}
