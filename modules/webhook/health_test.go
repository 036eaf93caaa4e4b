package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
	_ "github.com/osa-edge/osa-gateway/modules/webhook"
)

func TestHealth(t *testing.T) {
	store := memstore.New()
	g := osatest.Stopped(t, store, nil)
	g.Start()
	h := g.MustLoad(id, map[string]any{"source": "opal"})
	get := func(method string) osatest.Response {
		return osatest.Serve(h, httptest.NewRequest(method, "/", nil), func(r *http.Request) {
			osa.SetVerified(r, &osa.Verified{Scheme: "osa"})
		})
	}
	fresh := decode[map[string]any](t, get(http.MethodGet))
	last, there := fresh["last_event_at"]
	if fresh["status"] != "healthy" || fresh["source"] != "opal" || last != nil || !there ||
		!reflect.DeepEqual(fresh["methods"], []any{"GET", "HEAD", "POST"}) ||
		!reflect.DeepEqual(fresh["signature"], map[string]any{"required": true, "scheme": "osa"}) {
		t.Errorf("%v", fresh)
	}
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	received := func(r *http.Request) { osa.SetRequest(r, "", "", at) }
	decode[reply](t, osatest.Serve(h, post(body), signed("acme"), received))
	// Another source's is later and does not count.
	other := g.MustLoad(id, map[string]any{"source": "second", "mapping": map[string]any{"name": "opal"}})
	decode[reply](t, osatest.Serve(other, post(body), signed("acme")))

	r := get(http.MethodGet)
	if got := decode[map[string]any](t, r); got["last_event_at"] != "2026-11-22T01:02:03Z" {
		t.Errorf("%v", got)
	}
	for _, secret := range []string{"strategy_workflow_1", "geo_audit", "primary", "acme", "evt_"} {
		if strings.Contains(r.Body.String(), secret) {
			t.Errorf("health shows %s", secret)
		}
	}
	if head := get(http.MethodHead); head.Code != http.StatusOK || head.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d %v", head.Code, head.Header())
	}
	// Nobody checks signatures here: nothing can come in.
	if got := decode[map[string]any](t, osatest.Serve(h, httptest.NewRequest("GET", "/", nil))); got["status"] != "degraded" {
		t.Errorf("without osa_signature: %v", got)
	}

	if err := g.Log().Close(); err != nil {
		t.Fatal(err)
	}
	g = osatest.Stopped(t, store, nil)
	g.Start()
	h = g.MustLoad(id, map[string]any{"source": "opal"})
	if got := decode[map[string]any](t, get(http.MethodGet)); got["last_event_at"] != "2026-11-22T01:02:03Z" {
		t.Errorf("after a restart: %v", got)
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
