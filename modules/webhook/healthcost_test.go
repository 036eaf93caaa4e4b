package webhook_test

import (
	"context"
	"testing"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// counting counts what is asked of the store.
type counting struct {
	storage.Store
	queries int
}

func (c *counting) Query(ctx context.Context, q storage.Query) (storage.Page, error) {
	c.queries++
	return c.Store.Query(ctx, q)
}

// TestAskingForTheLastEventIsNoQuery: however often it is asked, the store is asked
// once, and what is committed later shows without asking.
func TestAskingForTheLastEventIsNoQuery(t *testing.T) {
	store := &counting{Store: memstore.New()}
	log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if at := log.LastReceived(t.Context(), "opal"); !at.IsZero() {
			t.Errorf("an empty log has a last event, at %v", at)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if store.queries != 1 {
		t.Errorf("%d queries", store.queries)
	}
}
