package e2e

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// demanded are the permissions of all operations of the API; "" is open to everybody.
var demanded = map[string]string{
	"GET /api/webhooks/opal-workflow":   "",
	"GET /api/health":                   "",
	"GET /metrics":                      "",
	"GET /api/webhook-events":           "events:read",
	"GET /api/webhook-events/{id}":      "events:read",
	"GET /api/webhook-events/stream":    "events:read",
	"GET /api/diagnostics/last-webhook": "events:read",
	"GET /api/opal/sync":                "opal:read",
	"POST /api/opal/sync":               "opal:trigger",
}

// TestPermissions asks for every operation that docs/openapi.yaml has, with
// Caddyfile.example: without credentials, with a caller who has every permission but
// the one that is needed, and with one who has that alone.
func TestPermissions(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	id := g.MustPost(gateway.Event("wf", "geo_audit", "now", nil)).WebhookID
	all := []string{"events:read", "events:replay", "opal:read", "opal:trigger", "services:read", "services:write", "admin"}
	ask := func(method, path string, header ...string) *gateway.Response {
		if strings.HasSuffix(path, "/stream") {
			method = http.MethodHead // GET does not end
		}
		return g.MustDo(method, strings.ReplaceAll(path, "{id}", id), nil, header...)
	}
	as := func(permissions ...string) []string {
		return []string{"Authorization", "Bearer " + g.Token(gateway.Claims(strings.Join(permissions, " ")))}
	}
	for _, operation := range operations(t) {
		method, path, _ := strings.Cut(operation, " ")
		permission, known := demanded[operation]
		switch {
		case operation == "POST /api/webhooks/opal-workflow": // for a signature alone
			for _, header := range [][]string{nil, as(all...)} {
				if r := ask(method, path, header...); r.Status != http.StatusUnauthorized {
					t.Errorf("%s unsigned, with %d credentials: %d %s", operation, len(header)/2, r.Status, r.Body)
				}
			}
		case !known:
			t.Errorf("nobody here knows the permission of %s", operation)
		case permission == "":
			if r := ask(method, path); r.Status != http.StatusOK {
				t.Errorf("%s is open and answered %d", operation, r.Status)
			}
		default:
			if r := ask(method, path); r.Status != http.StatusUnauthorized || r.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s without credentials: %d", operation, r.Status)
			}
			others := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return p == permission })
			r := ask(method, path, as(others...)...)
			if r.Status != http.StatusForbidden || !strings.Contains(r.Header.Get("WWW-Authenticate"), permission) {
				t.Errorf("%s with all but %s: %d %s", operation, permission, r.Status, r.Body)
			}
			// Force Sync is not configured here: that it says so is beyond the permission.
			r = ask(method, path, as(permission)...)
			if r.Status != http.StatusOK && !strings.Contains(string(r.Body), "Configuration Error") {
				t.Errorf("%s with %s: %d %s", operation, permission, r.Status, r.Body)
			}
		}
	}
}

// operations are those of docs/openapi.yaml, as in "GET /api/health".
func operations(t *testing.T) (all []string) {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "docs/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if name := strings.ToUpper(method); slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, name) {
				all = append(all, name+" "+path)
			}
		}
	}
	slices.Sort(all)
	for operation := range maps.Keys(demanded) {
		if !slices.Contains(all, operation) {
			t.Errorf("%s is not documented", operation)
		}
	}
	return all
}
