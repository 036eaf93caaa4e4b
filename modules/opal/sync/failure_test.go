package sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/storage"
)

// A run survives the process: the next one joins it and sees its end.
func TestRestart(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	opal := newOPAL(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
	})
	defer close(release)
	store := memstore.New()
	before := newGatewayOver(t, store, opal.URL, nil)
	done := make(chan reply)
	go func() { done <- before.post("") }()
	<-arrived
	before.runner.Stop() // the gateway goes away while OPAL thinks
	first := <-done
	if first.status != 502 || first.text("status") != "in_progress" {
		t.Errorf("answered %s", first.raw)
	}
	if err := before.log.Close(); err != nil {
		t.Fatal(err)
	}

	after := newGatewayOver(t, store, opal.URL, nil)
	if err := after.runner.Resume(context.Background(), after.log); err != nil {
		t.Fatal(err)
	}
	again := after.post("")
	if again.status != 200 || again.text("sync_id") != first.text("sync_id") || again.at("joined") != true {
		t.Errorf("answered %s", again.raw)
	}
	after.callback(event.Event{
		WorkflowID: "w_3", CorrelationID: first.text("correlation_id"), Kind: event.KindWorkflowCompletion, Status: event.StatusCompleted,
	})
	run := after.until("completed", func(r Run) bool { return r.Phase == PhaseCompleted })
	if run.Alias != "w_3" || run.Delivery != client.Unknown {
		t.Errorf("the run is %+v", run)
	}
	if len(opal.received()) != 1 {
		t.Error("the trigger was sent again")
	}
}

// A store that is away when the call ends is waited for.
func TestOutcomeIsWrittenWhenTheStoreIsBack(t *testing.T) {
	var g *gateway
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) {
		g.store.Refuse(storage.ErrNoSpace)
		w.WriteHeader(http.StatusForbidden)
	})
	g = newGateway(t, opal.URL)
	done := make(chan reply)
	go func() { done <- g.post("") }()
	for len(opal.received()) == 0 {
		time.Sleep(time.Millisecond)
	}
	g.store.Refuse(nil)
	if got := <-done; got.status != 502 || g.run().Active() {
		t.Errorf("answered %d, the run is %+v", got.status, g.run())
	}
}

func TestCrashBetweenRecordAndStart(t *testing.T) {
	g := newGateway(t, "http://127.0.0.1:1")
	runs, err := collection(g.log)
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(testWorkspace, 0, StartOptions{Request: &Request{}, RunTimeout: time.Hour})
	run.StartedAt = run.StartedAt.Add(-2 * startGrace)
	if _, err := runs.Put(context.Background(), testWorkspace, run, 0); err != nil {
		t.Fatal(err)
	}
	entry, err := g.runner.Current(context.Background(), g.log)
	if err != nil || entry.Value.Phase != PhaseFailed {
		t.Errorf("a run that was never sent goes on: %+v, %v", entry.Value, err)
	}
	if _, err := g.runner.Current(context.Background(), g.log); errors.Is(err, storage.ErrConflict) {
		t.Error(err)
	}
}

// A state that was lost is not one that never was: a run that goes on is not ended
// for it, but nothing is said of it until the state has been made anew.
func TestLostStateEndsNoRun(t *testing.T) {
	opal := newOPAL(t, accept("w"))
	g := newGateway(t, opal.URL)
	runs, err := collection(g.log)
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(testWorkspace, 0, StartOptions{Request: &Request{}, RunTimeout: time.Hour})
	run.StartedAt = run.StartedAt.Add(-2 * startGrace) // its start must be in the log by now
	if _, err := runs.Put(t.Context(), testWorkspace, run, 0); err != nil {
		t.Fatal(err)
	}
	started, err := startedEvent(&run, newTrigger(&run, &Request{}, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.log.Append(t.Context(), started); err != nil {
		t.Fatal(err)
	}
	if entry, err := g.runner.Current(t.Context(), g.log); err != nil || !entry.Value.Active() {
		t.Fatalf("the run is %+v, %v", entry.Value, err)
	}

	g.store.LoseRecord("workflow_state", fmt.Sprint(len(testWorkspace), ":", testWorkspace, run.SyncID))
	var got reply
	for n := 0; ; n++ {
		got = g.post("")
		if got.status != http.StatusServiceUnavailable {
			if n == 0 {
				t.Errorf("while the state is lost: %d %s", got.status, got.raw)
			}
			break
		}
		details, _ := got.problem.Members["details"].(map[string]any)
		if details["part"] != "workflow_state" || got.problem.Header.Get("Retry-After") == "" {
			t.Fatalf("answered %+v", got.problem)
		}
		if entry, err := runs.Get(t.Context(), testWorkspace); err != nil || !entry.Value.Active() || entry.Value.SyncID != run.SyncID {
			t.Fatalf("meanwhile the run is %+v, %v", entry.Value, err)
		}
	}
	if got.status != http.StatusOK || got.text("sync_id") != run.SyncID || got.at("joined") != true {
		t.Errorf("answered %d %s", got.status, got.raw)
	}
	if n := len(opal.received()); n != 0 {
		t.Errorf("OPAL was triggered %d times", n)
	}
}
