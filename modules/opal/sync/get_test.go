package sync

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
)

// TestGetWritesNothing: GET shows what a run has come to, and leaves it to others to
// write that down. It answers while nothing can be written.
func TestGetWritesNothing(t *testing.T) {
	g := newGateway(t, "http://127.0.0.1:1")
	runs, err := collection(g.log)
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(testWorkspace, 0, StartOptions{Request: &Request{}, RunTimeout: time.Hour})
	run.StartedAt, run.Deadline = run.StartedAt.Add(-2*time.Hour), run.StartedAt.Add(-time.Hour)
	put, err := runs.Put(t.Context(), testWorkspace, run, 0)
	if err != nil {
		t.Fatal(err)
	}
	release := g.store.Hold()
	defer release()
	got := g.do(http.MethodGet, "")
	if got.status != http.StatusOK || got.text("run", "sync_id") != run.SyncID || got.text("run", "status") == "in_progress" {
		t.Errorf("answered %d %s", got.status, got.raw)
	}
	entry, err := runs.Get(t.Context(), testWorkspace)
	if err != nil || entry.Version != put || entry.Value.Phase != run.Phase {
		t.Errorf("the document has version %d, it was %d: %+v, %v", entry.Version, put, entry.Value, err)
	}
}

// absentLog is an app whose log does not open.
type absentLog struct{ app }

func (absentLog) Log(ctx context.Context) (*eventlog.Log, func(), error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

// TestGetHasADeadline: without the log, GET answers with the configuration alone.
func TestGetHasADeadline(t *testing.T) {
	g := newGateway(t, "http://127.0.0.1:1", func(s *Sync) { s.app = absentLog{s.app} })
	got := g.do(http.MethodGet, "")
	if got.status != http.StatusOK || got.at("run") != nil || got.text("run_error") == "" || got.at("configuration") == nil {
		t.Errorf("answered %d %s", got.status, got.raw)
	}
}
