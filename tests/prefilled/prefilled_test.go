package prefilled

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger"
	"github.com/osa-edge/osa-gateway/tests/bench/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What was filled in is found, and retention takes of it what is too old.
func TestFill(t *testing.T) {
	const n, every = 3000, time.Second
	first := time.Now().Add(-10 * 24 * time.Hour).Truncate(time.Second)
	o := Options{Dir: t.TempDir(), Events: n, First: first, Every: every, Body: load.NewEvents(0, 1).Append, Workspace: "w", Batch: 8}
	if err := Fill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s, err := badger.Open(o.Dir, badger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if b, err := s.Bounds(t.Context()); err != nil || b.Last-b.First != n-1 {
		t.Fatalf("bounds %+v, %v", b, err)
	}
	page, err := s.Query(t.Context(), storage.Query{Limit: 1, Ascending: true, Filter: event.Filter{
		WorkspaceID: "w", AgentIDs: []string{"geo_audit"}, Statuses: []event.Status{event.StatusCompleted},
	}})
	if err != nil || len(page.Events) != 1 || page.Events[0].ReceivedAt.Before(first) {
		t.Fatalf("query: %+v, %v", page, err)
	}
	pruned, err := s.Prune(t.Context(), first.Add(n/2*every))
	if err != nil || pruned != n/2 {
		t.Errorf("%d events were pruned, %v; %d are old", pruned, err, n/2)
	}
	if _, err := s.GetDocument(t.Context(), "log", "retention_clock"); err != nil {
		t.Errorf("the retention clock: %v", err)
	}
}
