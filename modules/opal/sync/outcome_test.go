package sync

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // a reset, not an orderly end
	}
	conn.Close()
}

// What OPAL answers, and what becomes of the run.
func TestOutcomes(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	var turns int
	tests := []struct {
		name     string
		opal     http.HandlerFunc // nil: nobody listens
		status   int
		phase    Phase
		delivery client.Delivery
		triggers int
		retries  float64
		alias    string
		logged   string
	}{
		{
			name: "accepted at once", opal: accept("strategy_workflow_456"),
			status: 200, phase: PhaseInitiated, delivery: client.Accepted, triggers: 1, alias: "strategy_workflow_456",
			logged: "workflow_started:running",
		},
		{
			name: "accepted without a word", opal: status(204),
			status: 200, phase: PhaseInitiated, delivery: client.Accepted, triggers: 1,
			logged: "workflow_started:running",
		},
		{
			name: "accepted with an answer of no use",
			opal: func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, `{"workflow_id":7,"agents_scheduled":"all"}`)
			},
			status: 200, phase: PhaseInitiated, delivery: client.Accepted, triggers: 1,
			logged: "workflow_started:running",
		},
		{
			name: "accepted with a huge answer",
			opal: func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, `{"workflow_id":"big","pad":"`)
				io.WriteString(w, strings.Repeat("x", 2<<20)+`"}`)
			},
			status: 200, phase: PhaseInitiated, delivery: client.Accepted, triggers: 1,
			logged: "workflow_started:running",
		},
		{
			name: "nobody listens", status: 502, phase: PhaseFailed, delivery: client.Unreachable, retries: 2,
			logged: "workflow_started:running workflow_completion:failed",
		},
		{
			name: "wrong key", opal: status(401),
			status: 502, phase: PhaseFailed, delivery: client.Refused, triggers: 1,
			logged: "workflow_started:running workflow_completion:failed",
		},
		{
			name: "broken", opal: status(500),
			status: 502, phase: PhaseFailed, delivery: client.Refused, triggers: 1,
			logged: "workflow_started:running workflow_completion:failed",
		},
		{
			name: "busy, then accepted",
			opal: func(w http.ResponseWriter, r *http.Request) {
				if turns++; turns == 1 {
					w.WriteHeader(503)
					return
				}
				accept("late")(w, r)
			},
			status: 200, phase: PhaseInitiated, delivery: client.Accepted, triggers: 2, retries: 1, alias: "late",
			logged: "workflow_started:running",
		},
		{
			name: "busy all the time", opal: status(429),
			status: 502, phase: PhaseFailed, delivery: client.Refused, triggers: 3, retries: 2,
			logged: "workflow_started:running workflow_completion:failed",
		},
		{
			name: "hangs up", opal: hangUp,
			// OPAL may have taken it: never sent again, and the run goes on.
			status: 502, phase: PhaseInProgress, delivery: client.Unknown, triggers: 1,
			logged: "workflow_started:running",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, opal := "http://127.0.0.1:1", (*fakeOPAL)(nil)
			if tt.opal != nil {
				opal = newOPAL(t, tt.opal)
				url = opal.URL
			}
			g := newGateway(t, url)
			got := g.post(`{"sync_scope":"priority_platforms"}`)
			if got.status != tt.status || got.text("status") != string(tt.phase) {
				t.Errorf("answered %d %q, want %d %q: %s", got.status, got.text("status"), tt.status, tt.phase, got.raw)
			}
			if opal != nil && len(opal.received()) != tt.triggers {
				t.Errorf("OPAL got %d triggers, want %d", len(opal.received()), tt.triggers)
			}
			if got.at("retry_attempts") != tt.retries {
				t.Errorf("retry_attempts is %v, want %v", got.at("retry_attempts"), tt.retries)
			}
			run := g.run()
			if run.Phase != tt.phase || run.Delivery != tt.delivery || run.Alias != tt.alias || run.SyncID != got.text("sync_id") {
				t.Errorf("the run is %+v", run)
			}
			if got := kinds(g.gatewayEvents()); got != tt.logged {
				t.Errorf("logged %q, want %q", got, tt.logged)
			}
			if tt.status == 502 && (got.problem.Code != "upstream_service_error" || got.text("service_name") != "OPAL Platform" || got.at("retry_suggestions") == nil) {
				t.Errorf("not the documents' 502: %s", got.raw)
			}
			for _, text := range []string{got.raw, g.lines.text(), g.do("GET", "").raw} {
				if strings.Contains(text, testKey) || strings.Contains(text, "account-1234") {
					t.Errorf("shows the key or the webhook's path: %s", text)
				}
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := newOPAL(t, accept("elsewhere"))
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	g := newGateway(t, opal.URL)
	if got := g.post(""); got.status != 502 {
		t.Errorf("answered %d", got.status)
	}
	if len(elsewhere.received()) != 0 {
		t.Error("the key was sent to another host")
	}
}

// OPAL is silent: the client gets its answer, and the call goes on.
func TestSilence(t *testing.T) {
	tests := map[string]func(w http.ResponseWriter, release <-chan struct{}){
		"silent": func(w http.ResponseWriter, release <-chan struct{}) {
			<-release
			io.WriteString(w, `{"workflow_id":"slow_1"}`)
		},
		"slow body": func(w http.ResponseWriter, release <-chan struct{}) {
			io.WriteString(w, `{"workflow_id":`)
			w.(http.Flusher).Flush()
			<-release
			io.WriteString(w, `"slow_1"}`)
		},
	}
	for name, opalAnswer := range tests {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			opal := newOPAL(t, func(w http.ResponseWriter, _ *http.Request) { opalAnswer(w, release) })
			g := newGateway(t, opal.URL, func(s *Sync) { s.AnswerAfter = caddy.Duration(10 * time.Millisecond) })
			got := g.post("")
			if got.status != 200 || got.text("status") != "in_progress" || got.at("sync_details", "external_opal", "triggered") != false {
				t.Errorf("answered %d: %s", got.status, got.raw)
			}
			if kinds(g.gatewayEvents()) != "workflow_started:running" {
				t.Errorf("logged %q", kinds(g.gatewayEvents()))
			}
			close(release)
			run := g.until("accepted", func(r Run) bool { return r.Delivery == client.Accepted })
			if run.Alias != "slow_1" || run.SyncID != got.text("sync_id") {
				t.Errorf("the run is %+v", run)
			}
		})
	}
}

// A client that leaves does not take the run with it.
func TestClientLeaves(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		accept("w1")(w, r)
	})
	g := newGateway(t, opal.URL)
	r := httptest.NewRequest("POST", "/", nil)
	ctx, leave := contextWithVars(r)
	left := make(chan error)
	go func() { left <- g.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx), nil) }()
	<-arrived
	leave()
	if err := <-left; err == nil {
		t.Error("answered somebody who had left")
	}
	close(release)
	g.until("accepted", func(r Run) bool { return r.Alias == "w1" && r.Active() })
}

var correlation = regexp.MustCompile(`^force-sync-\d{10}-[0-9a-z]+$`)

// What OPAL is sent, and what the client is answered.
func TestTrigger(t *testing.T) {
	opal := newOPAL(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"workflow_id":"strategy_workflow_456","agents_scheduled":["geo_audit","content_review"]}`)
	})
	g := newGateway(t, opal.URL)
	got := g.post(`{
		"sync_scope":"priority_platforms","client_context":{"client_name":"Test Client"},
		"metadata":{"ticket":12345678901234567890},"agent_filter":["Geo_Audit","content_review","GEO_AUDIT"],
		"timeout_override":120,"session_id":"s1","force_restart":true,"workflow_name":"strategy_workflow","triggered_by":null}`)
	if got.status != 200 {
		t.Fatalf("answered %d: %s", got.status, got.raw)
	}
	sent := opal.received()[0]
	for name, want := range map[string]string{
		"Authorization": "Bearer " + testKey, "Content-Type": "application/json", "X-Correlation-ID": got.text("correlation_id"),
	} {
		if sent.header.Get(name) != want {
			t.Errorf("%s is not what it should be", name)
		}
	}
	want := map[string]any{
		"workflow_name": "strategy_workflow", "workflow_id": got.text("sync_id"), "correlation_id": got.text("correlation_id"),
		"callback_url": "http://localhost:3000/api/webhooks/opal-workflow", "sync_scope": "priority_platforms",
		"client_context": map[string]any{"client_name": "Test Client"},
		"metadata": map[string]any{
			"ticket": 12345678901234567890.0, "agent_filter": []any{"Geo_Audit", "content_review"}, "timeout_override": 120,
			"session_id": "s1", "force_restart": true,
		},
	}
	wantJSON, _ := json.Marshal(want)
	if sentJSON, _ := json.Marshal(sent.body); string(sentJSON) != string(wantJSON) {
		t.Errorf("sent %s\nwant %s", sentJSON, wantJSON)
	}
	if !correlation.MatchString(got.text("correlation_id")) {
		t.Errorf("correlation id %q", got.text("correlation_id"))
	}
	answered := map[string]any{
		"success": true, "status": "initiated", "message": "Force sync initiated", "joined": false,
		"workflows_triggered": []any{"strategy_workflow_456"}, "agents_synced": []any{}, "retry_attempts": 0.0, "completion_time": nil,
	}
	for name, want := range answered {
		wantJSON, _ := json.Marshal(want)
		if gotJSON, _ := json.Marshal(got.at(name)); string(gotJSON) != string(wantJSON) {
			t.Errorf("%s is %s, want %s", name, gotJSON, wantJSON)
		}
	}
	if got.at("sync_details", "internal_workflow", "workflow_id") != got.text("sync_id") ||
		got.at("sync_details", "external_opal", "workflow_id") != "strategy_workflow_456" ||
		got.at("sync_details", "external_opal", "triggered") != true ||
		got.at("sync_details", "external_opal", "ai_agents_count") != 2.0 {
		t.Errorf("sync_details: %s", got.raw)
	}
	run := g.run()
	if run.Deadline.Sub(run.StartedAt) != 2*time.Minute {
		t.Errorf("timeout_override did not bound the run: %v", run.Deadline.Sub(run.StartedAt))
	}
	started := g.gatewayEvents()[0]
	if started.WorkflowID != run.SyncID || started.WorkflowName != WorkflowName || started.WorkspaceID != testWorkspace ||
		started.CorrelationID != run.CorrelationID || started.Size != len(started.Body) || started.BodyDigest.IsZero() {
		t.Errorf("logged %+v", started)
	}
	if body := string(started.Body); !strings.Contains(body, `"client_name":"Test Client"`) || strings.Contains(body, testKey) {
		t.Errorf("logged the body %s", body)
	}
}

func TestClientsCorrelationIDIsCarried(t *testing.T) {
	opal := newOPAL(t, accept("w"))
	g := newGateway(t, opal.URL)
	for range 2 { // and used twice, starts two runs
		got := g.post(`{"force_restart":true}`, withCorrelation("trace-1"))
		if got.status != 200 || got.text("correlation_id") != "trace-1" {
			t.Errorf("answered %s", got.raw)
		}
	}
	sent := opal.received()
	if len(sent) != 2 || sent[1].header.Get("X-Correlation-ID") != "trace-1" || sent[1].body["correlation_id"] != "trace-1" {
		t.Errorf("sent %v", sent)
	}
	if n := strings.Count(kinds(g.gatewayEvents()), "workflow_started"); n != 2 {
		t.Errorf("%d starts are in the log, want 2", n)
	}
}
