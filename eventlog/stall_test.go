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

func (c *crowded) Project(ctx context.Context, s storage.Step) error {
	if c.full.Load() {
		return storage.ErrNoSpace
	}
	return c.Store.Project(ctx, s)
}

func (c *crowded) Writable() error {
	if c.short.Load() {
		return storage.ErrNoSpace
	}
	return c.Store.Writable()
}

// TestFullDiskStillLists: a projector without space keeps nobody waiting, no list
// needs it, and nobody takes what it has not got to for what never was.
func TestFullDiskStillLists(t *testing.T) {
	store := &crowded{Store: memstore.New()}
	l := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
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
	store.full.Store(true)
	if _, err := l.Append(ctx, newEvent("meanwhile", "2")); err != nil {
		t.Fatal(err)
	}
	store.short.Store(true)
	if n := list(); n != 1 {
		t.Errorf("on a full disk %d events are listed, want 1", n)
	}
	var rebuild *storage.RebuildError
	if _, err := l.Workflow(ctx, "ws", "wf_1"); !errors.As(err, &rebuild) || rebuild.Part != "workflow_state" || rebuild.Done != 0 || rebuild.Total != 1 {
		t.Errorf("on a full disk the state is %v", err)
	}
	// As soon as there is space, reads see what was written.
	store.full.Store(false)
	store.short.Store(false)
	if w, err := l.Workflow(ctx, "ws", "wf_1"); err != nil || w.Events != 1 {
		t.Errorf("with space again the state is %+v, %v", w, err)
	}
}
