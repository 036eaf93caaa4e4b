package misdirected

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestUnknownHosts: on servers as they can be written in JSON, only what no route
// takes is refused.
func TestUnknownHosts(t *testing.T) {
	ours := []json.RawMessage{json.RawMessage(`{"handler":"subroute","routes":[{"handle":[{"handler":"osa_health"}]}]}`)}
	theirs := []json.RawMessage{json.RawMessage(`{"handler":"static_response"}`)}
	host := func(names ...string) caddyhttp.MatcherSets {
		m := caddyhttp.MatchHost(names)
		return caddyhttp.MatcherSets{{&m}}
	}
	path := func(p string) caddyhttp.MatcherSets { return caddyhttp.MatcherSets{{caddyhttp.MatchPath{p}}} }
	for _, tt := range []struct {
		name    string
		routes  caddyhttp.RouteList
		request string // host and path
		handled bool   // by a route
		as      string // the host that the request then has
		status  int    // of an error
	}{
		{"one site", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}}, "b/x", false, "a", 421},
		{"its host", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}}, "A:80/x", true, "A:80", 0},
		{"health", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}}, "b/api/health", true, "a", 0},
		{"a wildcard", caddyhttp.RouteList{{MatcherSets: host("*.a"), HandlersRaw: ours}}, "b/api/health", true, "any.a", 0},
		{"not ours", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: theirs}}, "b/x", false, "b", 0},
		{"no hosts", caddyhttp.RouteList{{HandlersRaw: ours}}, "b/x", true, "b", 0},
		{
			"two sites", caddyhttp.RouteList{{MatcherSets: host("t"), HandlersRaw: theirs}, {MatcherSets: host("a"), HandlersRaw: ours}},
			"b/api/health", true, "a", 0,
		},
		{
			"another's site", caddyhttp.RouteList{{MatcherSets: host("t"), HandlersRaw: theirs}, {MatcherSets: host("a"), HandlersRaw: ours}},
			"t/api/health", true, "t", 0,
		},
		{
			"another's path", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}, {MatcherSets: path("/t"), HandlersRaw: theirs}},
			"b/t", true, "b", 0,
		},
		{
			"beside another's path", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}, {MatcherSets: path("/t"), HandlersRaw: theirs}},
			"b/x", false, "a", 421,
		},
		{
			"health is another's path", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}, {MatcherSets: path("/api/health"), HandlersRaw: theirs}},
			"b/api/health", true, "b", 0,
		},
		{
			"everything else is another's", caddyhttp.RouteList{{MatcherSets: host("a"), HandlersRaw: ours}, {HandlersRaw: theirs}},
			"b/x", true, "b", 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := &caddyhttp.Server{Routes: tt.routes}
			Refuse(srv, "osa_")
			slash := strings.IndexByte(tt.request, '/')
			r := httptest.NewRequest(http.MethodGet, tt.request[slash:], nil)
			r.Host = tt.request[:slash]
			r = r.WithContext(context.WithValue(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()),
				caddyhttp.VarsCtxKey, map[string]any{}))
			handled, err := false, error(nil)
			for _, route := range srv.Routes {
				var ok bool
				if ok, err = route.MatcherSets.AnyMatchWithError(r); ok || err != nil {
					handled = ok
					break
				}
			}
			status := 0
			if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
				status = e.StatusCode
			}
			if handled != tt.handled || status != tt.status || r.Host != tt.as {
				t.Errorf("handled %v, %v, as %s", handled, err, r.Host)
			}
		})
	}
}
