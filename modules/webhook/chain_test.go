package webhook_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/guard"
	"github.com/osa-edge/osa-gateway/modules/osa"
	signaturemodule "github.com/osa-edge/osa-gateway/modules/signature"
	"github.com/osa-edge/osa-gateway/modules/webhook"
	"github.com/osa-edge/osa-gateway/signature"
)

func init() {
	chaintest.Register("osa_guard", guard.ParseGuard)
	chaintest.Register("osa_error", guard.ParseError)
	chaintest.Register("osa_signature", signaturemodule.ParseCaddyfile)
	chaintest.Register("osa_webhook", webhook.ParseCaddyfile)
	httpcaddyfile.RegisterGlobalOption("osa", osa.ParseGlobalOption)
}

// secret is obviously fake, yet random enough to pass for one.
const secret = "f2b47c9e01d8a356f2b40c9e71d8a3561"

// health is what a receiver answers to GET.
func health(t *testing.T, s *chaintest.Server, method, path string) map[string]any {
	t.Helper()
	r := s.Send(method, path, nil, nil)
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Length") == "" {
		t.Fatalf("%s %s: %d %v", method, path, r.StatusCode, r.Header)
	}
	var got map[string]any
	if method == http.MethodHead {
		return nil
	}
	if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"strategy_workflow_1", "geo_audit", "main", "acme", "evt_", secret} {
		if strings.Contains(r.Body, hidden) {
			t.Errorf("health shows %s", hidden)
		}
	}
	return got
}

// receivers are a site with receivers behind a signature, behind one for some methods,
// and without any.
const receivers = `
	osa_guard
	@post method POST
	handle /signed {
		route {
			osa_signature @post osa ` + secret + `
			osa_webhook first {
				mapping opal
			}
		}
	}
	handle /other {
		route {
			osa_webhook second {
				mapping opal
			}
		}
	}
	handle /reads {
		@get method GET HEAD
		route {
			osa_signature @get osa ` + secret + `
			osa_webhook first {
				mapping opal
			}
		}
	}
	handle_errors {
		osa_error
	}`

// TestHealth: GET tells how the receiver is, also where osa_signature looks at other
// methods only.
func TestHealth(t *testing.T) {
	name := osatest.NewStore(t)
	s := chaintest.StartWith(t, "osa {\n storage memory "+name+"\n}", receivers)
	send := func(path, sign string) int {
		header := http.Header{"Content-Type": {"application/json"}, "X-Osa-Signature": {signature.Sign(sign, []byte(body), time.Now())}}
		return s.Send("POST", path, header, strings.NewReader(body)).StatusCode
	}
	fresh := health(t, s, "GET", "/signed")
	last, there := fresh["last_event_at"]
	if fresh["status"] != "healthy" || fresh["source"] != "first" || last != nil || !there ||
		!reflect.DeepEqual(fresh["methods"], []any{"GET", "HEAD", "POST"}) ||
		!reflect.DeepEqual(fresh["signature"], map[string]any{"required": true, "scheme": "osa"}) {
		t.Errorf("%v", fresh)
	}
	if status := send("/signed", secret); status != http.StatusOK {
		t.Fatalf("a signed event: %d", status)
	}
	health(t, s, "HEAD", "/signed")
	at, err := time.Parse(time.RFC3339, health(t, s, "GET", "/signed")["last_event_at"].(string))
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("the last event is at %v, %v", at, err)
	}
	// No osa_signature stands before this one: nothing can come in. Another source's
	// event does not count.
	if got := health(t, s, "GET", "/other"); got["status"] != "degraded" || got["last_event_at"] != nil ||
		!reflect.DeepEqual(got["signature"], map[string]any{"required": true, "scheme": nil}) {
		t.Errorf("without osa_signature: %v", got)
	}
}

// TestNothingUnverified: whatever the matcher of osa_signature leaves out is not stored.
func TestNothingUnverified(t *testing.T) {
	s := chaintest.StartWith(t, "osa {\n storage memory "+osatest.NewStore(t)+"\n}", receivers)
	for name, tt := range map[string]struct{ path, key string }{
		"no signature":               {"/signed", ""},
		"another secret":             {"/signed", "0" + secret[1:]},
		"no osa_signature":           {"/other", secret},
		"osa_signature for GET only": {"/reads", secret},
	} {
		header := http.Header{"Content-Type": {"application/json"}}
		if tt.key != "" {
			header["X-Osa-Signature"] = []string{signature.Sign(tt.key, []byte(body), time.Now())}
		}
		r := s.Send("POST", tt.path, header, strings.NewReader(body))
		if r.StatusCode != http.StatusUnauthorized || !strings.Contains(r.Body, `"auth_methods":["hmac"]`) {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.Body)
		}
	}
	for _, path := range []string{"/signed", "/other"} {
		if at := health(t, s, "GET", path)["last_event_at"]; at != nil {
			t.Errorf("%s has an event of %v", path, at)
		}
	}
}

// TestHealthAfterRestart: the last event's time is known after a restart.
func TestHealthAfterRestart(t *testing.T) {
	store := memstore.New()
	g := osatest.Stopped(t, store, nil)
	g.Start()
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	h := g.MustLoad(id, map[string]any{"source": "third", "mapping": map[string]any{"name": "opal"}})
	decode[reply](t, osatest.Serve(h, post(body), signed("acme"), func(r *http.Request) { osa.SetRequest(r, "", "", at) }))
	if err := g.Log().Close(); err != nil {
		t.Fatal(err)
	}
	g = osatest.Stopped(t, store, nil)
	g.Start()
	h = g.MustLoad(id, map[string]any{"source": "third", "mapping": map[string]any{"name": "opal"}})
	got := decode[map[string]any](t, osatest.Serve(h, httptest.NewRequest("GET", "/", nil)))
	if got["last_event_at"] != "2026-11-22T01:02:03Z" {
		t.Errorf("after a restart: %v", got)
	}
}
