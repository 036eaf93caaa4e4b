package sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

func contextWithVars(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, make(map[string]any)))
	osa.SetPrincipal(r.WithContext(ctx), testPrincipal)
	return ctx, cancel
}

func withCorrelation(id string) func(*http.Request) {
	return func(r *http.Request) { osa.SetRequest(r, "req_1", id, time.Now()) }
}

// OPAL's callbacks end a run, under whatever id they come.
func TestRunEnds(t *testing.T) {
	tests := []struct {
		name   string
		opalID string // what OPAL answers with
		send   func(g *gateway, run Run)
		phase  Phase
		synced int
		logged string
	}{
		{
			name: "under our id",
			send: func(g *gateway, run Run) {
				g.agentDone(run.SyncID, "geo_audit", event.StatusCompleted)
				g.workflowDone(run.SyncID, event.StatusCompleted)
			},
			phase: PhaseCompleted, synced: 1, logged: "workflow_started:running",
		},
		{
			name: "under OPAL's id", opalID: "strategy_workflow_456",
			send: func(g *gateway, run Run) {
				g.agentDone("strategy_workflow_456", "geo_audit", event.StatusCompleted)
				g.agentDone("strategy_workflow_456", "content_review", event.StatusCompleted)
				g.workflowDone("strategy_workflow_456", event.StatusCompleted)
			},
			phase: PhaseCompleted, synced: 2, logged: "workflow_started:running workflow_completion:completed",
		},
		{
			name: "under an id known by the correlation id only",
			send: func(g *gateway, run Run) {
				g.callback(event.Event{WorkflowID: "w_9", CorrelationID: run.CorrelationID, Kind: event.KindWorkflowStarted})
				g.agentDone("w_9", "geo_audit", event.StatusCompleted)
				g.workflowDone("w_9", event.StatusCompleted)
			},
			phase: PhaseCompleted, synced: 1, logged: "workflow_started:running workflow_completion:completed",
		},
		{
			name: "failed", opalID: "w_1",
			send: func(g *gateway, run Run) {
				g.agentDone("w_1", "geo_audit", event.StatusFailed)
				g.workflowDone("w_1", event.StatusFailed)
			},
			phase: PhaseFailed, logged: "workflow_started:running workflow_completion:failed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opal := newOPAL(t, accept(tt.opalID))
			g := newGateway(t, opal.URL)
			first := g.post("")
			if first.status != 200 {
				t.Fatalf("answered %s", first.raw)
			}
			// Another tenant's events and replays have nothing to say here.
			run := g.run()
			g.callback(event.Event{WorkspaceID: "ws_other", WorkflowID: run.WorkflowID(), Kind: event.KindWorkflowCompletion, Status: event.StatusFailed})
			g.callback(event.Event{WorkflowID: run.WorkflowID(), Kind: event.KindWorkflowCompletion, Status: event.StatusFailed, ReplayOf: 1})
			tt.send(g, run)
			g.until("ended", func(r Run) bool { return !r.Active() }) // without anybody asking
			got := g.do("GET", "")
			if got.at("run", "status") != string(tt.phase) || got.at("run", "completion_time") == nil ||
				len(got.at("run", "agents_synced").([]any)) != tt.synced {
				t.Errorf("GET answers %s", got.raw)
			}
			if got := kinds(g.gatewayEvents()); got != tt.logged {
				t.Errorf("logged %q, want %q", got, tt.logged)
			}
			if state, err := g.log.Workflow(context.Background(), testWorkspace, first.text("sync_id")); err != nil || !state.Status.Terminal() {
				t.Errorf("the workflow of the run goes on in the log: %+v, %v", state, err)
			}
			if next := g.post(""); next.text("sync_id") == first.text("sync_id") {
				t.Error("joined a run that had ended")
			}
		})
	}
}

// Callbacks may be faster than the answer to the trigger.
func TestCallbacksBeforeTheAnswer(t *testing.T) {
	var g *gateway
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) {
		g.agentDone("w_1", "geo_audit", event.StatusCompleted)
		g.workflowDone("w_1", event.StatusCompleted)
		accept("w_1")(w, r)
	})
	g = newGateway(t, opal.URL)
	got := g.post("")
	if got.status != 200 || got.text("status") != "completed" || got.at("completion_time") == nil || got.text("message") != "Force sync completed successfully" {
		t.Errorf("answered %s", got.raw)
	}
}

func TestConcurrentPostsStartOneRun(t *testing.T) {
	opal := newOPAL(t, accept("w_1"))
	g := newGateway(t, opal.URL)
	other := newRunnerBeside(t, g) // another node over the same store
	for _, body := range []string{"", `{"force_restart":true}`} {
		before := len(opal.received())
		ids := make(map[string]bool)
		var mu sync.Mutex
		var wg sync.WaitGroup
		arrival := time.Now()
		for i := range 32 {
			wg.Go(func() {
				node := g
				if i%2 == 1 {
					node = other
				}
				got := node.post(body, func(r *http.Request) { osa.SetRequest(r, "req", "", arrival) })
				mu.Lock()
				defer mu.Unlock()
				if got.status != 200 {
					t.Errorf("answered %s", got.raw)
				}
				ids[got.text("sync_id")] = true
			})
		}
		wg.Wait()
		if n := len(opal.received()) - before; len(ids) != 1 || n != 1 {
			t.Errorf("%s: %d sync ids and %d triggers, want one of each", body, len(ids), n)
		}
	}
}

func newRunnerBeside(t *testing.T, g *gateway) *gateway {
	t.Helper()
	s := *g.Sync
	other := &gateway{Sync: &s, t: t, store: g.store, log: g.log, lines: g.lines}
	other.runner = NewRunner(testWorkspace, client.New(nil), g.runner.log)
	t.Cleanup(other.runner.Stop)
	return other
}

func TestJoin(t *testing.T) {
	opal := newOPAL(t, hangUp)
	g := newGateway(t, opal.URL)
	first := g.post("")
	again := g.post(`{"agent_filter":["geo_audit"]}`)
	if again.status != 200 || again.text("sync_id") != first.text("sync_id") || again.text("status") != "in_progress" || again.at("joined") != true {
		t.Errorf("answered %s", again.raw)
	}
	if n := len(opal.received()); n != 1 {
		t.Errorf("a trigger of unknown outcome was sent %d times", n)
	}
}

func TestForceRestart(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) {
		first := false
		once.Do(func() { first = true })
		if first {
			close(arrived)
			<-release
			return
		}
		accept("w_2")(w, r)
	})
	g := newGateway(t, opal.URL)
	replies := make(chan reply, 1)
	go func() { replies <- g.post("") }()
	<-arrived
	second := g.post(`{"force_restart":true}`)
	first := <-replies
	close(release)
	if second.status != 200 || second.text("status") != "initiated" || second.text("sync_id") == first.text("sync_id") {
		t.Errorf("the restart was answered %s", second.raw)
	}
	if first.status != http.StatusConflict || first.text("sync_id") == "" {
		t.Errorf("the replaced request was answered %d %s", first.status, first.raw)
	}
	want := "workflow_started:running workflow_completion:failed workflow_started:running"
	if got := kinds(g.gatewayEvents()); got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
	if run := g.run(); run.SyncID != second.text("sync_id") || !run.Active() {
		t.Errorf("the run is %+v", run)
	}
}

func TestRetryFailedOnly(t *testing.T) {
	ids := make(chan string, 2)
	ids <- "w_1"
	ids <- "w_2"
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) { accept(<-ids)(w, r) })
	g := newGateway(t, opal.URL)
	g.post(`{"agent_filter":["geo_audit","content_review","cmp_organizer"]}`)
	g.agentDone("w_1", "geo_audit", event.StatusCompleted)
	g.agentDone("w_1", "content_review", event.StatusFailed)
	g.workflowDone("w_1", event.StatusCompleted)
	got := g.post(`{"retry_failed_only":true}`)
	metadata := opal.received()[1].body["metadata"].(map[string]any)
	if filter, _ := metadata["agent_filter"].([]any); len(filter) != 2 || filter[0] != "content_review" || filter[1] != "cmp_organizer" {
		t.Errorf("asked OPAL for %v", metadata)
	}
	if metadata["retry_failed_only"] != true || got.at("sync_details", "external_opal", "ai_agents_count") != 2.0 {
		t.Errorf("asked OPAL for %v, answered %s", metadata, got.raw)
	}
}

func TestNothingToRetry(t *testing.T) {
	opal := newOPAL(t, accept(""))
	g := newGateway(t, opal.URL)
	first := g.post(`{"agent_filter":["Geo_Audit"]}`)
	g.agentDone(first.text("sync_id"), "geo_audit", event.StatusCompleted)
	g.workflowDone(first.text("sync_id"), event.StatusCompleted)
	got := g.post(`{"retry_failed_only":true}`)
	if got.status != 200 || got.text("sync_id") != first.text("sync_id") || got.text("status") != "completed" || !strings.HasPrefix(got.text("message"), "Nothing to retry") {
		t.Errorf("answered %s", got.raw)
	}
	if len(opal.received()) != 1 {
		t.Error("OPAL was triggered for nothing")
	}
}

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

// The log refuses: OPAL is not called, and nothing is left that others would join.
func TestStartIsLoggedBeforeOPALIsCalled(t *testing.T) {
	opal := newOPAL(t, accept("w"))
	g := newGateway(t, opal.URL)
	g.store.Refuse(storage.ErrNoSpace)
	if got := g.post(""); got.status != http.StatusServiceUnavailable {
		t.Errorf("answered %d %s", got.status, got.raw)
	}
	if len(opal.received()) != 0 || g.run().Active() {
		t.Errorf("OPAL was called or a run is left: %+v", g.run())
	}
	g.store.Refuse(nil)
	if got := g.post(""); got.status != 200 || got.at("joined") == true {
		t.Errorf("answered %d %s", got.status, got.raw)
	}
}

// A runner that is stopped takes no orders.
func TestStopped(t *testing.T) {
	g := newGateway(t, "http://127.0.0.1:1")
	g.runner.Stop()
	if got := g.post(""); got.status != http.StatusServiceUnavailable || g.run().SyncID != "" {
		t.Errorf("answered %d %s", got.status, got.raw)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answerWith(status int, header http.Header) *http.Response {
	w := httptest.NewRecorder()
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	return w.Result()
}

// A run of which nothing is heard ends by itself.
func TestRunTimeout(t *testing.T) {
	for body, want := range map[string]time.Duration{
		``: osa.DefaultOPALRunTimeout, `{"timeout_override":90}`: 90 * time.Second, `{"timeout_override":300000}`: 5 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGatewayOver(t, memstore.New(), "http://opal.localhost", transport(func(*http.Request) (*http.Response, error) {
				return answerWith(200, nil), nil
			}), func(s *Sync) { s.settings.WebhookURL = "http://127.0.0.1/hook" })
			first := g.post(body)
			time.Sleep(want - time.Millisecond)
			synctest.Wait()
			if run := g.run(); !run.Active() {
				t.Errorf("%s: ended early: %+v", body, run)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			run := g.run()
			if run.Phase != PhaseFailed || run.Reason == "" || !run.CompletedAt.Equal(run.Deadline) {
				t.Errorf("%s: the run is %+v", body, run)
			}
			if got := kinds(g.gatewayEvents()); got != "workflow_started:running workflow_completion:failed" {
				t.Errorf("%s: logged %q", body, got)
			}
			if next := g.post(""); next.text("sync_id") == first.text("sync_id") {
				t.Error("joined a dead run")
			}
		})
	}
}

// A call that OPAL never answers ends, and is not sent again.
func TestCallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		g := newGatewayOver(t, memstore.New(), "http://127.0.0.1", transport(func(r *http.Request) (*http.Response, error) {
			calls++
			traceConnected(r)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		got := g.post("") // answer_after is 20 s
		if got.status != 200 || got.text("status") != "in_progress" {
			t.Errorf("answered %s", got.raw)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if run := g.run(); run.Delivery != client.Unknown || !run.Active() || calls != 1 {
			t.Errorf("%d calls, the run is %+v", calls, run)
		}
	})
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

// traceConnected says that the request has a connection, as http.Transport does.
func traceConnected(r *http.Request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
}
