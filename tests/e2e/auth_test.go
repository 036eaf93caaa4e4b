package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// protected are the routes that need a key or a token, with the permission.
func protected(id string) []struct{ method, path, permission string } {
	return []struct{ method, path, permission string }{
		{"GET", "/api/webhook-events", "events:read"},
		{"GET", "/api/webhook-events/" + id, "events:read"},
		{"GET", "/api/webhook-events/stream", "events:read"},
		{"GET", "/api/diagnostics/last-webhook", "events:read"},
		{"GET", "/api/opal/sync", "opal:read"},
		{"POST", "/api/opal/sync", "opal:trigger"},
	}
}

// ask sends a request and reads no further than the head of a stream.
func ask(t *testing.T, g *gateway.Gateway, method, path string, header ...string) *gateway.Response {
	t.Helper()
	if path == gateway.StreamPath {
		r, err := gateway.Raw{Method: "HEAD", Path: path, Header: lines(header), NoLength: true}.Send(g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == http.StatusOK {
			return r
		}
	}
	var body []byte
	if method == "POST" {
		body = []byte("{}")
		header = append(header, "Content-Type", "application/json")
	}
	return g.MustDo(method, path, body, header...)
}

func lines(header []string) []string {
	var out []string
	for i := 0; i+1 < len(header); i += 2 {
		out = append(out, header[i]+": "+header[i+1])
	}
	return out
}

func TestAuthentication(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Env: map[string]string{
		// Force Sync that gets through must end somewhere: here, nowhere.
		"OPAL_WEBHOOK_URL": "http://127.0.0.1:1/", "OPAL_STRATEGY_WORKFLOW_AUTH_KEY": gateway.RandomText(), "BASE_URL": "http://127.0.0.1:1",
	}})
	id := g.MustPost(gateway.Event("wf-auth", "geo_audit", stamp(), nil)).WebhookID
	scope := "events:read opal:read opal:trigger"
	with := func(name string, value any) map[string]any {
		c := gateway.Claims(scope)
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
		return c
	}
	now := time.Now()
	good := g.Token(gateway.Claims(scope))
	refused := map[string]string{
		"no such key":          "Bearer " + g.Key[:len(g.Key)-1] + "x",
		"a key cut off":        "Bearer " + g.Key[:len(g.Key)-1],
		"a key's prefix":       "Bearer opal_prod_",
		"the webhook's secret": "Bearer " + g.Secret,
		"nothing":              "Bearer ",
		"only a scheme":        "Bearer",
		"another scheme":       "Basic " + g.Key,
		"no scheme":            g.Key,
		"garbage":              "Bearer a.b.c",
		"two words":            "Bearer " + g.Key + " " + g.Key,
		"64 KB minus a bit":    "Bearer " + strings.Repeat("a", 12_000),
		"expired":              "Bearer " + g.Token(with("exp", now.Add(-10*time.Minute).Unix())),
		"not yet valid":        "Bearer " + g.Token(with("nbf", now.Add(10*time.Minute).Unix())),
		"of the future":        "Bearer " + g.Token(with("iat", now.Add(10*time.Minute).Unix())),
		"without an end":       "Bearer " + g.Token(with("exp", nil)),
		"another issuer":       "Bearer " + g.Token(with("iss", "somebody")),
		"no issuer":            "Bearer " + g.Token(with("iss", nil)),
		"another audience":     "Bearer " + g.Token(with("aud", "somebody")),
		"no audience":          "Bearer " + g.Token(with("aud", nil)),
		"no workspace":         "Bearer " + g.Token(with("workspace_id", nil)),
		"another key":          "Bearer " + g.ForeignToken(t, gateway.Claims(scope)),
		"alg none":             "Bearer " + g.UnsignedToken(gateway.Claims(scope)),
		"alg confused":         "Bearer " + g.ConfusedToken(gateway.Claims(scope)),
		"signature cut off":    "Bearer " + good[:len(good)-4],
		"signature gone":       "Bearer " + good[:strings.LastIndex(good, ".")+1],
		"claims changed":       "Bearer " + tamper(good),
	}
	for _, route := range protected(id) {
		t.Run(route.method+" "+route.path, func(t *testing.T) {
			check401 := func(t *testing.T, r *gateway.Response) {
				t.Helper()
				wantError(t, r, http.StatusUnauthorized, "authentication_failed")
				if !strings.HasPrefix(r.Header.Get("Www-Authenticate"), "Bearer") {
					t.Errorf("WWW-Authenticate is %q", r.Header.Get("Www-Authenticate"))
				}
			}
			t.Run("none", func(t *testing.T) { check401(t, g.MustDo(route.method, route.path, nil)) })
			for name, value := range refused {
				t.Run(name, func(t *testing.T) { check401(t, g.MustDo(route.method, route.path, nil, "Authorization", value)) })
			}
			t.Run("in the query", func(t *testing.T) {
				check401(t, g.MustDo(route.method, route.path+"?access_token="+g.AllKey+"&api_key="+g.AllKey, nil))
			})
			t.Run("two headers", func(t *testing.T) {
				check401(t, g.MustDo(route.method, route.path, nil, "Authorization", "Bearer "+g.Key, "Authorization", "Bearer "+g.Key))
			})
			t.Run("without the permission", func(t *testing.T) {
				for _, credential := range []string{g.NoKey, g.Token(gateway.Claims("services:read")), g.Token(gateway.Claims(""))} {
					r := ask(t, g, route.method, route.path, "Authorization", "Bearer "+credential)
					members := wantError(t, r, http.StatusForbidden, "access_denied")
					if got := fmt.Sprint(members["required_permissions"]); got != "["+route.permission+"]" {
						t.Errorf("required_permissions is %s, want %s", got, route.permission)
					}
				}
			})
			t.Run("with it", func(t *testing.T) {
				for _, credential := range []string{g.Key, g.Token(gateway.Claims(route.permission)), g.Token(with("scope", []string{route.permission}))} {
					r := ask(t, g, route.method, route.path, "Authorization", "Bearer "+credential)
					if r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden || r.Status == http.StatusNotFound {
						t.Errorf("answered with %d: %s", r.Status, r.Body)
					}
				}
			})
		})
	}

	// Open to all.
	for _, path := range []string{"/api/health", gateway.WebhookPath} {
		if r := g.MustDo("GET", path, nil); r.Status != http.StatusOK {
			t.Errorf("GET %s: %d", path, r.Status)
		} else if strings.Contains(string(r.Body), "wf-auth") || strings.Contains(string(r.Body), gateway.Workspace) {
			t.Errorf("GET %s says too much: %s", path, r.Body)
		}
	}
	for _, secret := range []string{g.Key, g.NoKey, g.Secret, good} {
		if strings.Contains(g.RawLog(), secret) {
			t.Error("a credential is in the log")
		}
	}
}

// tamper changes the claims and keeps the signature.
func tamper(token string) string {
	parts := strings.Split(token, ".")
	b := []byte(parts[1])
	b[len(b)/2] ^= 1
	return parts[0] + "." + string(b) + "." + parts[2]
}

// TestWorkspaces: nobody sees another workspace's events without workspace:*.
func TestWorkspaces(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	ids := post(t, g, "wf-mine", 3)
	event := fmt.Sprintf("/api/webhook-events/evt_%d", ids[0])
	as := func(credential, path string) *gateway.Response {
		return g.MustDo("GET", path, nil, "Authorization", "Bearer "+credential)
	}
	claims := gateway.Claims("events:read")
	claims["workspace_id"] = "third-workspace"
	for name, credential := range map[string]string{"key": g.OtherKey, "token": g.Token(claims)} {
		t.Run(name, func(t *testing.T) {
			wantError(t, as(credential, event), http.StatusNotFound, "resource_not_found")
			missing := as(credential, "/api/webhook-events/evt_999999")
			a, b := wantError(t, as(credential, event), 404, "resource_not_found"), wantError(t, missing, 404, "resource_not_found")
			if a["message"] != b["message"] || a["resource_type"] != b["resource_type"] {
				t.Errorf("an event of another workspace is told from one that does not exist: %v, %v", a, b)
			}
			for _, path := range []string{"/api/webhook-events", "/api/diagnostics/last-webhook", "/api/webhook-events?workspace_id=" + gateway.Workspace} {
				if r := as(credential, path); strings.Contains(string(r.Body), "wf-mine") {
					t.Errorf("GET %s shows another workspace's events: %s", path, r.Body)
				}
			}
			s := g.MustOpen("last_event_id=evt_0&include_historical=true", "Authorization", "Bearer "+credential)
			mine := g.MustOpen("last_event_id=evt_0")
			seq := post(t, g, "wf-mine", 1)[0]
			if err := mine.WaitSeq(seq, within); err != nil {
				t.Fatal(err)
			}
			if got := s.Seqs(); len(got) > 0 {
				t.Errorf("the stream shows another workspace's events %v", got)
			}
			s.Close()
			mine.Close()
		})
	}
	wide := g.Token(gateway.Claims("events:*"))
	for name, credential := range map[string]string{"workspace:*": g.AllKey, "events:*": wide} {
		if r := as(credential, event); r.Status != http.StatusOK {
			t.Errorf("with %s the event is answered with %d", name, r.Status)
		}
	}
}
