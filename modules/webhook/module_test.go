package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
	_ "github.com/osa-edge/osa-gateway/modules/webhook"
	"github.com/osa-edge/osa-gateway/storage"
)

func TestMain(m *testing.M) {
	// Of Caddy itself, for as long as the process lives.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.NewCache.func1"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).keepStorageClean.func1"),
		goleak.IgnoreTopFunction("github.com/DeRuina/timberjack.(*Logger).millRun"))
}

const id = "http.handlers.osa_webhook"

const body = `{"event_type":"agent_status_update","timestamp":"2024-11-13T14:32:15Z","workflow_id":"strategy_workflow_1","agent_id":"geo_audit",` +
	`"data":{"agent_status":{"previous_status":"running","current_status":"completed"}}}`

func signed(workspace string) func(*http.Request) {
	return func(r *http.Request) {
		osa.SetVerified(r, &osa.Verified{Scheme: "osa", SecretID: "primary", WorkspaceID: workspace})
	}
}

func post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/api/webhooks/opal-workflow", strings.NewReader(body))
}

// reply is the answer to a webhook.
type reply struct {
	Status  string   `json:"status"`
	ID      string   `json:"webhook_id"`
	Took    *float64 `json:"processing_time_ms"`
	Streams []string `json:"events_triggered"`
}

func decode[T any](t *testing.T, r osatest.Response) (v T) {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("problem %v %+v", r.Err, r.Problem)
	}
	if ct, cc := r.Header().Get("Content-Type"), r.Header().Get("Cache-Control"); ct != "application/json" || cc != "no-store" {
		t.Errorf("Content-Type %q, Cache-Control %q", ct, cc)
	}
	if err := json.Unmarshal(r.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, r.Body)
	}
	return v
}

func TestProcessedOnce(t *testing.T) {
	g := osatest.New(t, nil)
	h := g.MustLoad(id, map[string]any{"source": "opal"})

	before := time.Now()
	r := osatest.Serve(h, post(body), signed("acme"), func(r *http.Request) {
		osa.SetRequest(r, "req", "corr-7", before)
	})
	first := decode[reply](t, r)
	if r.Code != http.StatusOK || first.Status != "processed" || first.ID != "evt_1" || first.Took == nil || *first.Took <= 0 ||
		!reflect.DeepEqual(first.Streams, []string{event.StreamAgentStatusChange}) {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	e, err := g.Log().Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Body) != body || e.Size != len(body) || e.WorkspaceID != "acme" || e.Source != "opal" || e.CorrelationID != "corr-7" ||
		!e.ReceivedAt.Equal(before) || e.ReceivedAt.Location() != time.UTC || e.Status != event.StatusCompleted || e.ProcessingTime <= 0 {
		t.Errorf("stored %+v", e)
	}

	again := decode[reply](t, osatest.Serve(h, post(body), signed("acme")))
	if again.Status != "duplicate" || again.ID != "evt_1" || again.Streams == nil || len(again.Streams) != 0 {
		t.Errorf("again: %+v", again)
	}
	other := decode[reply](t, osatest.Serve(h, post(body), signed("globex")))
	if other.Status != "processed" || other.ID != "evt_2" {
		t.Errorf("another workspace's: %+v", other)
	}
	// The same key with another body is an event of its own, once.
	for i, want := range []string{"processed", "duplicate"} {
		changed := decode[reply](t, osatest.Serve(h, post(body+" "), signed("acme")))
		if changed.Status != want || changed.ID != "evt_3" {
			t.Errorf("other body, time %d: %+v", i+1, changed)
		}
	}
	if e, err = g.Log().Get(t.Context(), 3); err != nil || !e.PayloadMismatch {
		t.Errorf("mismatch is not marked: %+v, %v", e, err)
	}
	for outcome, want := range map[string]float64{"processed": 2, "duplicate": 2, "mismatch": 1} {
		if got := g.Counter("osa_webhook_events_total", "source", "opal", "outcome", outcome); got != want {
			t.Errorf("%v events are counted as %s, want %v", got, outcome, want)
		}
	}
}

func TestDuplicateStatus(t *testing.T) {
	h := osatest.New(t, nil).MustLoad(id, map[string]any{"source": "opal", "duplicate_status": 409})
	for _, want := range []struct {
		code   int
		status string
	}{{200, "processed"}, {409, "duplicate"}} {
		r := osatest.Serve(h, post(body), signed("acme"))
		if got := decode[reply](t, r); r.Code != want.code || got.Status != want.status || got.ID != "evt_1" {
			t.Errorf("%d %+v, want %+v", r.Code, got, want)
		}
	}
}

func TestConcurrentCopies(t *testing.T) {
	h := osatest.New(t, nil).MustLoad(id, map[string]any{"source": "opal"})
	const copies = 200
	replies := make([]reply, copies)
	var all sync.WaitGroup
	for i := range copies {
		all.Go(func() { replies[i] = decode[reply](t, osatest.Serve(h, post(body), signed("acme"))) })
	}
	all.Wait()
	count := map[string]int{}
	for _, r := range replies {
		count[r.Status+" "+r.ID]++
	}
	if want := map[string]int{"processed evt_1": 1, "duplicate evt_1": copies - 1}; !reflect.DeepEqual(count, want) {
		t.Errorf("got %v, want %v", count, want)
	}
}

func TestStreamNames(t *testing.T) {
	h := osatest.New(t, nil).MustLoad(id, map[string]any{"source": "opal"})
	for typ, want := range map[string]string{
		"started": "workflow_progress_update", "agent_completed": "agent_status_change", "error_notification": "error_notification",
		"failed": "workflow_progress_update", "anything": "webhook_processed", "system_health_alert": "webhook_processed",
	} {
		got := decode[reply](t, osatest.Serve(h, post(`{"workflow_id":"wf","event_type":"`+typ+`"}`), signed("acme")))
		if !reflect.DeepEqual(got.Streams, []string{want}) {
			t.Errorf("%s triggers %v, want %s", typ, got.Streams, want)
		}
	}
}

func TestNothingUnsigned(t *testing.T) {
	g := osatest.New(t, nil)
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	for name, prepare := range map[string]func(*http.Request){
		"no osa_signature": func(*http.Request) {},
		"no secret":        func(r *http.Request) { osa.SetVerified(r, &osa.Verified{Scheme: "osa", WorkspaceID: "acme"}) },
		"a principal":      func(r *http.Request) { osa.SetPrincipal(r, &osa.Principal{WorkspaceID: "acme"}) },
	} {
		r := osatest.Serve(h, post(body), prepare)
		if r.Status() != http.StatusUnauthorized || r.Problem.Header.Get("WWW-Authenticate") == "" ||
			!reflect.DeepEqual(r.Problem.Members["auth_methods"], []string{"hmac"}) {
			t.Errorf("%s: %v %+v", name, r.Status(), r.Problem)
		}
	}
	if head := g.Log().Head(); head != 0 {
		t.Errorf("%d events were stored", head)
	}
}

func TestRefusedBodies(t *testing.T) {
	g := osatest.New(t, nil)
	h := g.MustLoad(id, map[string]any{"source": "opal", "mapping": map[string]any{"name": "opal", "strict_types": true}})
	tests := []struct {
		body, reason string
		fields       []string
	}{
		{"", "bad_json", []string{"body"}},
		{"{\"workflow_id\":\"\xff\"}", "bad_encoding", []string{"body"}},
		{strings.Repeat("[", 100_000), "too_deep", []string{"body"}},
		{"[]", "not_an_object", []string{"body"}},
		{`{"agent_id":1}`, "invalid_fields", []string{"agent_id", "workflow_id", "event_type"}},
		{`{"workflow_id":"w","event_type":"unheard of"}`, "invalid_fields", []string{"event_type"}},
	}
	for _, tt := range tests {
		before := g.Counter("osa_webhook_rejected_total", "source", "opal", "reason", tt.reason)
		r := osatest.Serve(h, post(tt.body), signed("acme"))
		if r.Status() != http.StatusBadRequest || r.Problem.Code != httperror.CodeValidationFailed {
			t.Errorf("%.40s: %d %v", tt.body, r.Status(), r.Err)
			continue
		}
		var fields []string
		for _, d := range r.Problem.Members["details"].([]httperror.Invalid) {
			fields = append(fields, d.Field)
		}
		if !reflect.DeepEqual(fields, tt.fields) {
			t.Errorf("%.40s: details name %v, want %v", tt.body, fields, tt.fields)
		}
		if n := g.Counter("osa_webhook_rejected_total", "source", "opal", "reason", tt.reason) - before; n != 1 {
			t.Errorf("%.40s: counted %v times as %s", tt.body, n, tt.reason)
		}
	}
	if head := g.Log().Head(); head != 0 {
		t.Errorf("%d events were stored", head)
	}
}

func TestFaithful(t *testing.T) {
	g := osatest.New(t, nil)
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	for i, b := range []string{
		`{"workflow_id":"w","event_type":"x","n":1e400,"s":"\ud800","z":"\u0000","a":1,"a":2,"big":0.10000000000000000000001}`,
		" {\"workflow_id\" : \"w\",\n\t\"event_type\":\"x\"} \r\n",
		`{"workflow_id":"w","event_type":"x","pad":"` + strings.Repeat("é", 200_000) + `"}`,
	} {
		decode[reply](t, osatest.Serve(h, post(b), signed("acme")))
		if e, err := g.Log().Get(t.Context(), uint64(i+1)); err != nil || !bytes.Equal(e.Body, []byte(b)) {
			t.Errorf("body %d is not stored as it came: %v", i, err)
		}
	}
}

func TestStoreTrouble(t *testing.T) {
	g := osatest.New(t, nil)
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	g.Store.Refuse(storage.ErrNoSpace)
	r := osatest.Serve(h, post(body), signed("acme"))
	if r.Status() != http.StatusServiceUnavailable || r.Problem.Header.Get("Retry-After") == "" {
		t.Errorf("full disk: %d %v", r.Status(), r.Err)
	}
	health := decode[map[string]any](t, osatest.Serve(h, httptest.NewRequest("GET", "/", nil), signed("acme")))
	if health["status"] != "degraded" {
		t.Errorf("full disk: %v", health)
	}
	g.Store.Refuse(nil)
	if got := decode[reply](t, osatest.Serve(h, post(body), signed("acme"))); got.Status != "processed" {
		t.Errorf("after it: %+v", got)
	}
	if n := g.Counter("osa_webhook_rejected_total", "source", "opal", "reason", "no_space"); n != 1 {
		t.Errorf("%v refusals counted", n)
	}
}

// What cannot be kept is refused before anybody looks at it.
func TestOverload(t *testing.T) {
	g := osatest.New(t, map[string]any{"queue_events": 1})
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	release := g.Store.Hold()
	sent := make(chan osatest.Response)
	full := func() bool {
		return g.Log().Writable() != nil
	}
	n := 0
	for ; !full(); n++ { // how many the committer takes at once is its own affair
		request := post(fmt.Sprintf(`{"workflow_id":"w%d","event_type":"started"}`, n))
		go func() { sent <- osatest.Serve(h, request, signed("acme")) }()
		runtime.Gosched()
	}
	if r := osatest.Serve(h, post(body), signed("acme")); r.Status() != http.StatusServiceUnavailable || r.Problem.Header.Get("Retry-After") == "" {
		t.Errorf("with a full queue: %d %v", r.Status(), r.Err)
	}
	if r := osatest.Serve(h, post("not JSON"), signed("acme")); r.Status() != http.StatusServiceUnavailable {
		t.Errorf("nonsense with a full queue: %d %v", r.Status(), r.Err)
	}
	release()
	for range n {
		if r := <-sent; r.Err != nil && r.Status() != http.StatusServiceUnavailable {
			t.Errorf("%d %v", r.Status(), r.Err)
		}
	}
	if r := osatest.Serve(h, post("not JSON"), signed("acme")); r.Status() != http.StatusBadRequest {
		t.Errorf("nonsense with an empty queue: %d %v", r.Status(), r.Err)
	}
	if n := g.Counter("osa_webhook_rejected_total", "source", "opal", "reason", "overloaded"); n < 2 {
		t.Errorf("%v refusals counted", n)
	}
}

func TestStoreNotOpenYet(t *testing.T) {
	g := osatest.Stopped(t, memstore.New(), map[string]any{"open_timeout": "1ms"})
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	for _, r := range []*http.Request{post(body), httptest.NewRequest("GET", "/", nil)} {
		if got := osatest.Serve(h, r, signed("acme")); got.Status() != http.StatusServiceUnavailable || got.Problem.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", r.Method, got.Status(), got.Err)
		}
	}
}

func TestSenderLeaves(t *testing.T) {
	g := osatest.New(t, nil)
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	release := g.Store.Hold()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan osatest.Response)
	go func() { left <- osatest.Serve(h, post(body).WithContext(ctx), signed("acme")) }()
	for g.Store.Committing() == 0 {
		runtime.Gosched()
	}
	leave()
	r := <-left
	release()
	if r.Status() != 499 {
		t.Errorf("a sender who left is answered %d %v", r.Status(), r.Err)
	}
	// What was on its way is kept, and the sender's next try finds it.
	if got := decode[reply](t, osatest.Serve(h, post(body), signed("acme"))); got.Status != "duplicate" || got.ID != "evt_1" {
		t.Errorf("next try: %+v", got)
	}
}

func TestOtherMethods(t *testing.T) {
	h := osatest.New(t, nil).MustLoad(id, map[string]any{"source": "opal"})
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
		r := osatest.Serve(h, httptest.NewRequest(method, "/", strings.NewReader(body)), signed("acme"))
		if r.Status() != http.StatusMethodNotAllowed || r.Problem.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: %d %v", method, r.Status(), r.Err)
		}
	}
}

func TestValidate(t *testing.T) {
	g := osatest.New(t, nil)
	for name, tt := range map[string]struct {
		config map[string]any
		want   []string
	}{
		"no source":          {map[string]any{}, []string{"source must be a name"}},
		"the gateway's":      {map[string]any{"source": "gateway", "mapping": map[string]any{"name": "opal"}}, []string{"kept for events that the gateway makes"}},
		"a source unmapped":  {map[string]any{"source": "acme"}, []string{`no mapping "acme"`, "name one of opal"}},
		"an odd status":      {map[string]any{"source": "opal", "duplicate_status": 202}, []string{"200 or 409"}},
		"an empty name":      {map[string]any{"source": "opal", "mapping": map[string]any{"name": "opal", "workflow_names": []string{""}}}, []string{"workflow_names"}},
		"everything at once": {map[string]any{"source": "o p", "duplicate_status": 1}, []string{"source", "200 or 409"}},
	} {
		_, err := g.Load(id, tt.config)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want it to say %q", name, err, want)
			}
		}
	}
	for i := range 2 { // several receivers, and reloads, share collectors
		if _, err := g.Load(id, map[string]any{"source": fmt.Sprintf("source-%d", i), "mapping": map[string]any{"name": "opal"}}); err != nil {
			t.Error(err)
		}
	}
}
