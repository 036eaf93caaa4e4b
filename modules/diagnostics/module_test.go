package diagnostics_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/diagnostics"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// views are what the handlers show: whose it is, and the path by which it is asked for.
var views = map[string]struct{ handler, path string }{
	"events":       {"osa_events", diagnostics.DefaultEventsPath},
	"event":        {"osa_events", diagnostics.DefaultEventsPath + "/evt_1"},
	"last_webhook": {"osa_diagnostics", diagnostics.DefaultDiagnosticsPath + "/last-webhook"},
	"health":       {"osa_health", "/api/health"},
}

func load(g *osatest.Gateway, name string) caddyhttp.MiddlewareHandler {
	return g.MustLoad("http.handlers."+views[name].handler, map[string]any{})
}

// view asks for a view. A target that is a query alone goes to the view's path, and an
// event's id below that of the list.
func view(g *osatest.Gateway, t *testing.T, name string) func(target string, prepare ...func(*http.Request)) osatest.Response {
	t.Helper()
	h := load(g, name)
	return func(target string, prepare ...func(*http.Request)) osatest.Response {
		switch query, found := strings.CutPrefix(target, "/?"); {
		case found:
			target = views[name].path + "?" + query
		case target == "/" && name != "event":
			target = views[name].path
		case !strings.HasPrefix(target, "/api/"):
			target = diagnostics.DefaultEventsPath + target
		}
		return osatest.Serve(h, httptest.NewRequest(http.MethodGet, target, nil), prepare...)
	}
}

func as(workspace string, permissions ...string) func(*http.Request) {
	return func(r *http.Request) {
		osa.SetPrincipal(r, &osa.Principal{ID: "key_1", Method: "api_key", WorkspaceID: workspace, Permissions: permissions})
	}
}

var acme = as("acme", osa.PermEventsRead)

// put appends an event with defaults for what it leaves out.
func put(t *testing.T, log *eventlog.Log, e event.Event) uint64 {
	t.Helper()
	if e.WorkspaceID == "" {
		e.WorkspaceID = "acme"
	}
	if e.Source == "" {
		e.Source = "opal"
	}
	if e.WorkflowID == "" {
		e.WorkflowID = "wf_1"
	}
	if e.Kind == "" {
		e.Kind = event.KindOther
	}
	if e.Body == nil {
		e.Body = []byte(`{}`)
	}
	if e.ReceivedAt.IsZero() {
		e.ReceivedAt = time.Now().UTC()
	}
	e.Size = len(e.Body)
	e.DedupKey = event.DedupKey(t.Name(), fmt.Sprint(log.Head()))
	res, err := log.Append(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	return res.Seq
}

type list struct {
	Events []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"events"`
	NextCursor   *string        `json:"next_cursor"`
	SystemHealth map[string]any `json:"system_health"`
}

func (l list) ids() string {
	var ids []string
	for _, e := range l.Events {
		ids = append(ids, strings.TrimPrefix(e.ID, "evt_"))
	}
	return strings.Join(ids, " ")
}

func decode[T any](t *testing.T, r osatest.Response) (v T) {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("problem %v %+v", r.Err, r.Problem)
	}
	if ct, cc := r.Header().Get("Content-Type"), r.Header().Get("Cache-Control"); r.Code != 200 || ct != "application/json" || cc != "no-store" {
		t.Errorf("%d, Content-Type %q, Cache-Control %q", r.Code, ct, cc)
	}
	if err := json.Unmarshal(r.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, r.Body)
	}
	return v
}

// fill makes a log of ten events; evt_8 is another workspace's, evt_9 the
// gateway's own, evt_10 a replay.
func fill(t *testing.T, g *osatest.Gateway) {
	log := g.Log()
	day := time.Date(2024, 1, 15, 12, 0, 0, 0, time.UTC)
	for _, e := range []event.Event{
		{Type: "started", Kind: event.KindWorkflowStarted, Status: event.StatusRunning, WorkflowName: "strategy_workflow", ReceivedAt: day},
		{Type: "agent_completed", Kind: event.KindAgentStatus, Status: event.StatusCompleted, AgentID: "Geo_Audit", ReceivedAt: day.Add(time.Hour)},
		{Type: "agent_completed", Kind: event.KindAgentStatus, Status: event.StatusFailed, AgentID: "content_review", WorkflowID: "wf_2"},
		{Type: "error_notification", Kind: event.KindError, Severity: "critical", ErrorMessage: "<b>&"},
		{Type: "custom", Status: event.StatusTimeout},
		{Type: "completed", Kind: event.KindWorkflowCompletion, Status: event.StatusCompleted, Source: "second"},
		{Type: "completed", Kind: event.KindWorkflowCompletion, Status: event.StatusCompleted},
		{Type: "started", Kind: event.KindWorkflowStarted, WorkspaceID: "globex"},
		{Type: "workflow_started", Kind: event.KindWorkflowStarted, Source: event.SourceGateway},
		{Type: "started", Kind: event.KindWorkflowStarted, ReplayOf: 1},
	} {
		put(t, log, e)
	}
}

func TestEvents(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	get := view(g, t, "events")
	for query, want := range map[string]string{
		"":                                "7 6 5 4 3 2 1",
		"order=asc":                       "1 2 3 4 5 6 7",
		"limit=2":                         "7 6",
		"status=failed":                   "3",
		"status=success":                  "7 6 2",
		"status=failed,timeout":           "5 3",
		"status=failed&event_type=custom": "",
		"event_type=agent_completed":      "3 2",
		"event_type=agent_status_change":  "3 2",
		"event_types=error,custom":        "5 4",
		"workflow=strategy_workflow":      "1",
		"workflow_id=wf_2":                "3",
		"agent_id=geo_audit":              "2",
		"agent_ids=GEO_AUDIT&agent_ids=x": "2",
		"min_priority=high":               "4",
		"source=second":                   "6",
		"source=gateway":                  "9",
		"start_date=2024-01-15&end_date=2024-01-15&order=asc": "1 2",
		"end_date=2024-01-15T12:00:00Z":                       "1",
		"start_date=2024-01-15T12:00:01Z&end_date=2024-01-16": "2",
	} {
		got := decode[list](t, get("/api/webhook-events?"+query, acme))
		if got.ids() != want || got.Events == nil {
			t.Errorf("?%s: %s, want %s", query, got.ids(), want)
		}
	}
	if got := decode[list](t, get("/?order=asc", as("globex", osa.PermEventsRead))); got.ids() != "8" {
		t.Errorf("globex sees %s", got.ids())
	}
	if got := decode[list](t, get("/?order=asc", as("ops", osa.PermEventsRead, osa.PermAllWorkspaces))); got.ids() != "1 2 3 4 5 6 7 8" {
		t.Errorf("workspace:* sees %s", got.ids())
	}
}

func TestEventsPages(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	get := view(g, t, "events")
	for order, want := range map[string]string{"desc": "7 6 5|4 3 2|1", "asc": "1 2 3|4 5 6|7"} {
		var pages []string
		query := "/?limit=3&order=" + order
		for {
			got := decode[list](t, get(query, acme))
			pages = append(pages, got.ids())
			if got.NextCursor == nil {
				break
			}
			query = "/?limit=3&cursor=" + *got.NextCursor
		}
		if got := strings.Join(pages, "|"); got != want {
			t.Errorf("%s: %s, want %s", order, got, want)
		}
	}
	// A page that ends with the last event has no next one, and says so.
	if r := get("/?limit=7", acme); !strings.HasSuffix(r.Body.String(), `,"next_cursor":null}`) {
		t.Errorf("%s", r.Body)
	}
}

func TestEventsRecord(t *testing.T) {
	g := osatest.New(t, nil)
	put(t, g.Log(), event.Event{Type: "custom", ErrorMessage: "<b>&", CorrelationID: "c"})
	r := view(g, t, "events")("/", acme)
	got := decode[struct{ Events []map[string]any }](t, r).Events[0]
	for _, name := range []string{
		"id", "seq", "received_at", "workspace_id", "source", "event_type", "kind", "workflow_id", "workflow_name", "agent_id", "status",
		"severity", "error_message", "correlation_id", "dedup_hash", "payload_mismatch", "replay_of", "size", "processing_time_ms",
	} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if _, ok := got["payload"]; ok || got["agent_id"] != nil || got["id"] != "evt_1" {
		t.Errorf("%v", got)
	}
	if !strings.Contains(r.Body.String(), `"<b>&"`) {
		t.Errorf("HTML is escaped: %s", r.Body)
	}
}

func TestRefusals(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	for _, name := range []string{"events", "last_webhook", "event"} {
		r := view(g, t, name)("/?limit=0&unheard=of", acme)
		if r.Status() != http.StatusBadRequest || r.Problem.Code != httperror.CodeValidationFailed || len(r.Problem.Members["details"].([]httperror.Invalid)) != 2 {
			t.Errorf("%s with bad parameters: %d %+v", name, r.Status(), r.Problem)
		}
		// Who is not known hears nothing of what else is wrong.
		r = view(g, t, name)("/?limit=0")
		if r.Status() != http.StatusUnauthorized || r.Problem.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a principal: %d", name, r.Status())
		}
		if r = view(g, t, name)(views[name].path, as("", osa.PermEventsRead)); r.Status() != http.StatusForbidden {
			t.Errorf("%s without a workspace: %d", name, r.Status())
		}
		if r = view(g, t, name)(views[name].path, as("acme", osa.PermOPALRead)); r.Status() != http.StatusForbidden ||
			!reflect.DeepEqual(r.Problem.Members["required_permissions"], []string{osa.PermEventsRead}) {
			t.Errorf("%s without the permission: %d %+v", name, r.Status(), r.Problem)
		}
		h := load(g, name)
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			r := osatest.Serve(h, httptest.NewRequest(method, views[name].path, nil), acme)
			if r.Status() != http.StatusMethodNotAllowed || r.Problem.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d", method, name, r.Status())
			}
		}
	}
}

func TestHead(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	for _, name := range []string{"events", "last_webhook", "event", "health"} {
		r := osatest.Serve(load(g, name), httptest.NewRequest(http.MethodHead, views[name].path, nil), acme)
		if r.Status() != 200 || r.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d %v", name, r.Status(), r.Header())
		}
	}
}

func TestEvent(t *testing.T) {
	g := osatest.New(t, nil)
	log := g.Log()
	get := view(g, t, "event")
	body := `{"workflow_id":"wf_1","n":1e400,"n":-0.10,"s":"\ud800","data":{"api_key":"sk-1","nested":[{"Password":{"a":1,"b":"c"}}]},"html":"<&>"}`
	put(t, log, event.Event{Type: "custom", Body: []byte(body)})
	put(t, log, event.Event{WorkspaceID: "globex"})
	put(t, log, event.Event{Source: event.SourceGateway, Body: []byte("token=abc")})

	r := get("/api/webhook-events/evt_1", acme)
	got := decode[struct {
		ID        string          `json:"id"`
		EventType string          `json:"event_type"`
		Size      int             `json:"size"`
		Payload   json.RawMessage `json:"payload"`
	}](t, r)
	if got.ID != "evt_1" || got.EventType != "custom" || got.Size != len(body) {
		t.Errorf("%+v", got)
	}
	want := `,"payload":{"workflow_id":"wf_1","n":1e400,"n":-0.10,"s":"\ud800","data":{"api_key":"***","nested":[{"Password":{"a":1,"b":"***"}}]},"html":"<&>"}}`
	if !strings.HasSuffix(r.Body.String(), want) {
		t.Errorf("%s", r.Body)
	}
	if got := decode[map[string]any](t, get("/evt_3", acme)); got["payload"] != nil {
		t.Errorf("a payload that is no JSON: %v", got)
	}
	if got := decode[map[string]any](t, get("/evt_2", as("ops", osa.PermEventsRead, osa.PermAllWorkspaces))); got["workspace_id"] != "globex" {
		t.Errorf("workspace:* reads %v", got)
	}

	foreign := get("/evt_2", acme)
	absent := get("/evt_99", acme)
	if foreign.Status() != 404 || absent.Status() != 404 || foreign.Problem.Message != absent.Problem.Message ||
		!reflect.DeepEqual(absent.Problem.Members, map[string]any{"resource_type": "event", "resource_id": "evt_99"}) {
		t.Errorf("foreign %+v, absent %+v", foreign.Problem, absent.Problem)
	}
	for _, path := range []string{"/", "/evt_", "/evt_0", "/1", "/evt_01", "/evt_-1", "/evt_1/", "/evt_18446744073709551616", "/evt_1%20"} {
		if r := get(path, acme); r.Status() != 404 {
			t.Errorf("%s: %d", path, r.Status())
		}
	}
}

func TestEventLarge(t *testing.T) {
	g := osatest.New(t, nil)
	pad := strings.Repeat("x", 10<<20)
	put(t, g.Log(), event.Event{Body: []byte(`{"secret":"hush","pad":"` + pad + `"}`)})
	put(t, g.Log(), event.Event{Body: []byte(strings.Repeat("[", 10<<20))})
	get := view(g, t, "event")
	if r := get("/evt_1", acme); r.Err != nil || !strings.HasSuffix(r.Body.String(), `,"payload":{"secret":"***","pad":"`+pad+`"}}`) {
		t.Errorf("ten megabytes: %v, %d bytes", r.Err, r.Body.Len())
	}
	if got := decode[map[string]any](t, get("/evt_2", acme)); got["payload"] != nil {
		t.Error("ten million brackets are shown")
	}
}

func TestValidate(t *testing.T) {
	g := osatest.New(t, nil)
	for _, name := range []string{"osa_events", "osa_diagnostics"} {
		for _, prefix := range []string{"api", "/", "/api/", "/a//b", "/a/../b", "/a/*", "/a?b"} {
			if _, err := g.Load("http.handlers."+name, map[string]any{"path_prefix": prefix}); err == nil || !strings.Contains(err.Error(), name+": path_prefix is") {
				t.Errorf("%s with path_prefix %q: %v", name, prefix, err)
			}
		}
	}
}

// TestPaths: each handler knows what is below its root. Everything else is 404, and a
// path is cleaned as Caddy's matchers do it.
func TestPaths(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	for _, tt := range []struct {
		handler, prefix, path string
		status                int
		has                   string
	}{
		{"osa_events", "", "/api/webhook-events", 200, `"events":[`},
		{"osa_events", "", "/API//Webhook-Events", 200, `"events":[`},
		{"osa_events", "", "/api/x/../webhook-events/evt_1", 200, `"payload":`},
		{"osa_events", "", "/api/webhook-events/", 404, ""},
		{"osa_events", "", "/api/webhook-events/evt_1/more", 404, ""},
		{"osa_events", "", "/api/webhook-eventsevt_1", 404, ""},
		{"osa_events", "", "/api", 404, ""},
		{"osa_events", "", "/", 404, ""},
		{"osa_events", "/log", "/log", 200, `"events":[`},
		{"osa_events", "/log", "/log/evt_1", 200, `"payload":`},
		{"osa_events", "/log", "/api/webhook-events", 404, ""},
		{"osa_diagnostics", "", "/api/diagnostics/last-webhook", 200, `"system_health":`},
		{"osa_diagnostics", "", "/api/Diagnostics/Last-Webhook", 200, `"system_health":`},
		{"osa_diagnostics", "", "/api/diagnostics/last-webhook/", 404, ""},
		{"osa_diagnostics", "", "/api/diagnostics", 404, ""},
		{"osa_diagnostics", "/ops", "/ops/last-webhook", 200, `"system_health":`},
		{"osa_health", "", "/anywhere", 200, `"status":`},
	} {
		config := map[string]any{}
		if tt.prefix != "" {
			config["path_prefix"] = tt.prefix
		}
		h := g.MustLoad("http.handlers."+tt.handler, config)
		r := osatest.Serve(h, httptest.NewRequest(http.MethodGet, tt.path, nil), acme)
		if r.Status() != tt.status || !strings.Contains(r.Body.String(), tt.has) {
			t.Errorf("%s %q: %s is %d %.80s, want %d with %s", tt.handler, tt.prefix, tt.path, r.Status(), r.Body, tt.status, tt.has)
		}
	}
}
