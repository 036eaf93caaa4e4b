package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// TestMain checks that no goroutine is left, but those that Caddy keeps for the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/DeRuina/timberjack.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"))
}

const (
	testWorkspace = "ws_main"
	testKey       = "k7Qw2zR9vT4nB8mX1cL6pJ3hG5fD0sAyUe" // made up
	testHookPath  = "/webhooks/account-1234/hook-5678"
)

// fakeOPAL counts the triggers that it gets and answers with the handler of the test.
type fakeOPAL struct {
	*httptest.Server
	mu       sync.Mutex
	triggers []received
}

type received struct {
	header http.Header
	body   map[string]any
}

func newOPAL(t *testing.T, answer http.HandlerFunc) *fakeOPAL {
	t.Helper()
	o := &fakeOPAL{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Errorf("trigger is not JSON: %v", err)
		}
		o.mu.Lock()
		o.triggers = append(o.triggers, received{r.Header.Clone(), body})
		o.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *fakeOPAL) received() []received {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]received(nil), o.triggers...)
}

func accept(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"workflow_id":"`+id+`","status":"initiated"}`)
	}
}

// gateway is a Sync over a log in memory.
type gateway struct {
	*Sync
	t     *testing.T
	store *memstore.Store
	log   *eventlog.Log
	lines *lines
}

func newGateway(t *testing.T, opalURL string, change ...func(*Sync)) *gateway {
	t.Helper()
	return newGatewayOver(t, memstore.New(), opalURL, nil, change...)
}

func newGatewayOver(t *testing.T, store *memstore.Store, opalURL string, transport http.RoundTripper, change ...func(*Sync)) *gateway {
	t.Helper()
	log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return store.Reopen(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, store: store, log: log, lines: new(lines)}
	g.Sync = &Sync{
		AnswerAfter: caddy.Duration(20 * time.Second), app: g,
		settings: Settings{BaseURL: "http://localhost:3000", OPAL: osa.OPAL{
			WebhookURL: opalURL + testHookPath, AuthKey: testKey, Workspace: testWorkspace,
			CallbackPath: osa.DefaultOPALCallbackPath, RunTimeout: caddy.Duration(osa.DefaultOPALRunTimeout),
		}},
	}
	for _, f := range change {
		f(g.Sync)
	}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}), g.lines, zapcore.DebugLevel)
	if checkWorkspace(g.settings.Workspace) == nil { // as Provision does
		g.runner = NewRunner(testWorkspace, client.New(transport), zap.New(core))
	}
	t.Cleanup(g.close)
	return g
}

func (g *gateway) Log(context.Context) (*eventlog.Log, func(), error) { return g.log, func() {}, nil }

// close ends the gateway as the end of its process would, save that what it
// does in the background is waited for.
func (g *gateway) close() {
	if g.runner != nil {
		g.runner.Stop()
	}
	if err := g.log.Close(); err != nil {
		g.t.Error(err)
	}
}

// lines are the log lines of a gateway.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *lines) Sync() error { return nil }

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

var testPrincipal = &osa.Principal{
	ID: "key_1", Method: "api_key", WorkspaceID: testWorkspace, Permissions: []string{osa.PermOPALRead, osa.PermOPALTrigger},
}

// reply is what a client gets: either a body or a problem.
type reply struct {
	status  int
	body    map[string]any
	problem *httperror.Error
	raw     string
}

func (r reply) text(path ...string) string { s, _ := r.at(path...).(string); return s }

func (r reply) at(path ...string) any {
	var v any = r.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (g *gateway) do(method, body string, with ...func(*http.Request)) reply {
	g.t.Helper()
	r := httptest.NewRequest(method, "/api/opal/sync", strings.NewReader(body))
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, make(map[string]any)))
	osa.SetRequest(r, "req_1", "", time.Now())
	osa.SetPrincipal(r, testPrincipal)
	for _, f := range with {
		f(r)
	}
	w := httptest.NewRecorder()
	err := g.ServeHTTP(w, r, nil)
	var out reply
	if err != nil {
		if !errors.As(err, &out.problem) {
			g.t.Fatalf("not a problem: %v", err)
		}
		raw, _ := json.Marshal(out.problem.Members)
		out.status, out.raw = out.problem.Status, out.problem.Error()+out.problem.Message+string(raw)
		if err := json.Unmarshal(raw, &out.body); err != nil {
			g.t.Fatal(err)
		}
		return out
	}
	out.status, out.raw = w.Code, w.Body.String()
	if err := json.Unmarshal(w.Body.Bytes(), &out.body); err != nil {
		g.t.Fatalf("answer is not JSON: %v", err)
	}
	return out
}

func (g *gateway) post(body string, with ...func(*http.Request)) reply {
	g.t.Helper()
	return g.do(http.MethodPost, body, with...)
}

func as(p *osa.Principal) func(*http.Request) {
	return func(r *http.Request) { osa.SetPrincipal(r, p) }
}

// run is the current run, straight from its document.
func (g *gateway) run() Run {
	g.t.Helper()
	runs, err := collection(g.log)
	if err != nil {
		g.t.Fatal(err)
	}
	entry, err := runs.Get(context.Background(), testWorkspace)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		g.t.Fatal(err)
	}
	return entry.Value
}

// until polls the run's document until the condition holds.
func (g *gateway) until(what string, ok func(Run) bool) Run {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if run := g.run(); ok(run) {
			return run
		}
	}
	g.t.Fatalf("the run never came to be %s: %+v", what, g.run())
	return Run{}
}

func (g *gateway) callback(e event.Event) {
	g.t.Helper()
	e.ReceivedAt, e.Source = time.Now(), "opal"
	if e.WorkspaceID == "" {
		e.WorkspaceID = testWorkspace
	}
	e.DedupKey = event.DedupKey(randomID(8))
	if _, err := g.log.Append(context.Background(), &e); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) agentDone(workflow, agent string, status event.Status) {
	g.t.Helper()
	g.callback(event.Event{WorkflowID: workflow, AgentID: agent, Kind: event.KindAgentStatus, Status: status})
}

func (g *gateway) workflowDone(workflow string, status event.Status) {
	g.t.Helper()
	g.callback(event.Event{WorkflowID: workflow, Kind: event.KindWorkflowCompletion, Status: status})
}

// gatewayEvents are the events that the gateway itself logged.
func (g *gateway) gatewayEvents() []*event.Event {
	g.t.Helper()
	events, err := g.log.Read(context.Background(), 0, 1000)
	if err != nil {
		g.t.Fatal(err)
	}
	var own []*event.Event
	for _, e := range events {
		if e.Source == event.SourceGateway {
			full, err := g.log.Get(context.Background(), e.Seq)
			if err != nil {
				g.t.Fatal(err)
			}
			own = append(own, full)
		}
	}
	return own
}

func kinds(events []*event.Event) string {
	var names []string
	for _, e := range events {
		names = append(names, string(e.Kind)+":"+string(e.Status))
	}
	return strings.Join(names, " ")
}
