package sync

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// caller authenticates every request as testPrincipal.
type caller struct{}

func (caller) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_caller", New: func() caddy.Module { return new(caller) }}
}

func (caller) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	osa.SetPrincipal(r, testPrincipal)
	return next.ServeHTTP(w, r)
}

func init() {
	caddy.RegisterModule(caller{})
	chaintest.Register("test_caller", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return new(caller), nil })
	chaintest.Register("osa_sync", ParseCaddyfile)
	httpcaddyfile.RegisterGlobalOption("osa", osa.ParseGlobalOption)
}

// TestConfigurationReload: a reload changes where OPAL is, for the next run. A run that
// is under way goes on, and requests join it under the new configuration.
func TestConfigurationReload(t *testing.T) {
	first, second := newOPAL(t, accept("w_1")), newOPAL(t, accept("w_2"))
	const site = "test_caller\nosa_sync"
	store := osatest.NewStore(t)
	config := func(opal string) string {
		return "osa {\n storage memory " + store + "\n base_url http://localhost:3000\n opal {\n workspace " + testWorkspace + "\n" + opal + "\n}\n}"
	}
	at := func(o *fakeOPAL) string {
		return config("webhook_url " + o.URL + testHookPath + "\n auth_key " + testKey)
	}
	s := chaintest.StartWith(t, at(first), site)
	ask := func(method, body string) map[string]any {
		t.Helper()
		r := s.Send(method, "/", nil, strings.NewReader(body))
		var answer map[string]any
		if err := json.Unmarshal([]byte(r.Body), &answer); r.StatusCode != http.StatusOK || err != nil {
			t.Fatalf("%s: %d %s", method, r.StatusCode, r.Body)
		}
		return answer
	}
	host := func() any {
		settings := ask(http.MethodGet, "")["configuration"].(map[string]any)["settings"].(map[string]any)
		return settings["webhook_url"].(map[string]any)["host"]
	}
	run := ask(http.MethodPost, "{}")
	if err := s.Reload(at(second), site); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimPrefix(second.URL, "http://"); host() != want {
		t.Errorf("after a reload OPAL is at %v, want %s", host(), want)
	}
	if joined := ask(http.MethodPost, "{}"); joined["sync_id"] != run["sync_id"] || joined["joined"] != true {
		t.Errorf("the run did not go on: %v", joined)
	}
	if next := ask(http.MethodPost, `{"force_restart":true}`); next["sync_id"] == run["sync_id"] {
		t.Errorf("no new run: %v", next)
	}
	if n, m := len(first.received()), len(second.received()); n != 1 || m != 1 {
		t.Errorf("%d triggers before the reload and %d after it, want one of each", n, m)
	}
	// A reload that is refused changes nothing.
	if err := s.Reload(config("callback_path cb"), site); err == nil || !strings.Contains(err.Error(), "callback_path") {
		t.Errorf("a callback path without a slash: %v", err)
	}
	if want := strings.TrimPrefix(second.URL, "http://"); host() != want {
		t.Errorf("after a reload that failed OPAL is at %v, want %s", host(), want)
	}
}

// TestStartsWithoutOPAL: what only Force Sync needs does not keep the gateway from
// starting, and a reload brings it.
func TestStartsWithoutOPAL(t *testing.T) {
	for _, name := range []string{"OPAL_WEBHOOK_URL", "OPAL_STRATEGY_WORKFLOW_AUTH_KEY", "OPAL_WORKSPACE_ID", "BASE_URL"} {
		t.Setenv(name, "")
	}
	opal := newOPAL(t, accept("w_1"))
	const site = "test_caller\nosa_sync"
	option := "osa {\n storage memory " + osatest.NewStore(t) + "\n@\n}"
	s := chaintest.StartWith(t, strings.Replace(option, "@", "", 1), site)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r := s.Send(method, "/", nil, strings.NewReader(""))
		for _, name := range []string{"webhook_url", "auth_key", "workspace_id", "base_url"} {
			if method == http.MethodGet && r.StatusCode != http.StatusOK || !strings.Contains(r.Body+s.Log(), name) {
				t.Errorf("%s does not report %s: %d %s", method, name, r.StatusCode, r.Body)
			}
		}
	}
	whole := fmt.Sprintf("base_url http://localhost:3000\n opal {\n workspace %s\n webhook_url %s/\n auth_key %s\n}", testWorkspace, opal.URL, testKey)
	if err := s.Reload(strings.Replace(option, "@", whole, 1), site); err != nil {
		t.Fatal(err)
	}
	if r := s.Send(http.MethodPost, "/", nil, strings.NewReader("")); r.StatusCode != http.StatusOK || !strings.Contains(r.Body, "w_1") {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}
