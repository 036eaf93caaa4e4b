package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestErrors: every error has the one shape, whatever made it.
func TestErrors(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	key := "Bearer " + g.Key
	for name, tt := range map[string]struct {
		method, path string
		header       []string
		status       int
		code         string
	}{
		"the root":              {"GET", "/", nil, 404, "resource_not_found"},
		"no such path":          {"GET", "/nothing", nil, 404, "resource_not_found"},
		"nothing for a caller":  {"GET", "/api/nothing", []string{"Authorization", key}, 404, "resource_not_found"},
		"nothing for strangers": {"GET", "/api/nothing", nil, 401, "authentication_failed"},
		"below an event":        {"GET", "/api/webhook-events/evt_1/payload", []string{"Authorization", key}, 404, "resource_not_found"},
		"no such diagnostics":   {"GET", "/api/diagnostics/nothing", []string{"Authorization", key}, 404, "resource_not_found"},
		"a path above":          {"GET", "/api/webhooks/../../etc/passwd", nil, 404, "resource_not_found"},
		"an unknown source":     {"POST", "/api/webhooks/nobody", nil, 404, "resource_not_found"},
		"the simulator":         {"POST", "/simulator/opal", nil, 404, "resource_not_found"},
		"no such event":         {"GET", "/api/webhook-events/evt_99999999", []string{"Authorization", key}, 404, "resource_not_found"},
		"PUT a webhook":         {"PUT", gateway.WebhookPath, nil, 405, "method_not_allowed"},
		"DELETE a webhook":      {"DELETE", gateway.WebhookPath, nil, 405, "method_not_allowed"},
		"POST the list":         {"POST", "/api/webhook-events", []string{"Authorization", key}, 405, "method_not_allowed"},
		"DELETE an event":       {"DELETE", "/api/webhook-events/evt_1", []string{"Authorization", key}, 405, "method_not_allowed"},
		"POST the stream":       {"POST", gateway.StreamPath, []string{"Authorization", key}, 405, "method_not_allowed"},
		"PUT the diagnostics":   {"PUT", "/api/diagnostics/last-webhook", []string{"Authorization", key}, 405, "method_not_allowed"},
		"DELETE the sync":       {"DELETE", "/api/opal/sync", []string{"Authorization", key}, 405, "method_not_allowed"},
		"POST health":           {"POST", "/api/health", nil, 405, "method_not_allowed"},
		"a bad filter":          {"GET", "/api/webhook-events?limit=0", []string{"Authorization", key}, 400, "validation_failed"},
		"a bad cursor":          {"GET", "/api/webhook-events?cursor=x", []string{"Authorization", key}, 400, "validation_failed"},
		"a bad stream filter":   {"GET", gateway.StreamPath + "?filter={", []string{"Authorization", key}, 400, "validation_failed"},
		"metrics of elsewhere":  {"GET", "/metrics", []string{"X-Forwarded-For", "8.8.8.8"}, 403, "access_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			r := g.MustDo(tt.method, tt.path, nil, tt.header...)
			wantError(t, r, tt.status, tt.code)
			if r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type is %q", r.Header.Get("Content-Type"))
			}
			if tt.status == http.StatusMethodNotAllowed && r.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}

			// The same by RFC 9457.
			p := g.MustDo(tt.method, tt.path, nil, append(tt.header, "Accept", "application/problem+json")...)
			members := wantError(t, p, tt.status, tt.code)
			if p.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type is %q", p.Header.Get("Content-Type"))
			}
			if members["status"] != float64(tt.status) || members["title"] == nil || members["detail"] == nil {
				t.Errorf("problem is %s", p.Body)
			}
			if text := string(p.Body); strings.Contains(text, "goroutine") || strings.Contains(text, ".go:") {
				t.Errorf("an error shows the inside: %s", text)
			}
		})
	}
}

// TestRequestIDs: X-Request-ID is on every response.
func TestRequestIDs(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	key := "Bearer " + g.Key
	for _, path := range []string{"/api/health", "/api/webhook-events", "/nothing", gateway.WebhookPath, "/api/opal/sync", "/api/diagnostics/last-webhook"} {
		r := g.MustDo("GET", path, nil, "Authorization", key)
		first := r.Header.Get("X-Request-Id")
		if first == "" {
			t.Errorf("GET %s has no X-Request-ID", path)
		}
		if second := g.MustDo("GET", path, nil, "Authorization", key).Header.Get("X-Request-Id"); second == first {
			t.Errorf("GET %s has the id %s twice", path, first)
		}
		if got := g.MustDo("GET", path, nil, "Authorization", key, "X-Request-ID", "my-request.1").Header.Get("X-Request-Id"); got != "my-request.1" {
			t.Errorf("GET %s does not echo the client's id: %q", path, got)
		}
		for _, bad := range []string{"a b", strings.Repeat("x", 500), "<script>", "\"x\""} {
			if got := g.MustDo("GET", path, nil, "Authorization", key, "X-Request-ID", bad).Header.Get("X-Request-Id"); got == bad || got == "" {
				t.Errorf("GET %s echoes %q", path, bad)
			}
		}
	}
	s := g.MustOpen("")
	if s.Response.Header.Get("X-Request-Id") == "" {
		t.Error("the stream has no X-Request-ID")
	}
	// A correlation id goes into the event.
	body := gateway.Event("wf-correlated", "geo_audit", stamp(), nil)
	r := g.MustDo("POST", gateway.WebhookPath, body, "Content-Type", "application/json",
		"X-OSA-Signature", g.Sign(body, now()), "X-Correlation-ID", "corr-1234")
	var a gateway.Answer
	if err := json.Unmarshal(r.Body, &a); err != nil || r.Header.Get("X-Correlation-Id") != "corr-1234" {
		t.Fatalf("answered with %d %s, %v", r.Status, r.Body, r.Header)
	}
	var record gateway.Record
	g.GetJSON("/api/webhook-events/"+a.WebhookID, &record)
	if record.CorrelationID == nil || *record.CorrelationID != "corr-1234" {
		t.Errorf("the event's correlation_id is %v", record.CorrelationID)
	}
}
