// Package misdirected answers requests for hosts that no site of a server serves with 421
// (RFC 9110 §15.5.20).
package misdirected

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

// healthPath is answered for any host, because load balancers use addresses.
const healthPath = "/api/health"

// hosts are the hosts that the sites of a server serve.
//
// Caddy answers a request that no route matches with 200 and no body, and so a request for
// any host that no site serves. Here the response is 421. It comes from a matcher that is
// evaluated last, when no other route has matched. So sites, redirects to HTTPS and ACME
// challenges work unchanged. The request then continues with a host of the gateway's own
// site: it is logged there, and its error is written there.
type hosts struct {
	srv           *caddyhttp.Server
	handlerPrefix string
	sites         []caddyhttp.RequestMatcherWithError
	// site is a host of a site with handlers of this gateway.
	site string
	// open are the matchers of routes for any host.
	open []caddyhttp.MatcherSets
}

// Refuse has a server answer 421 to hosts that no site serves. handlerPrefix is the prefix
// of the names of the gateway's handlers. Refuse changes the matchers of the routes, which
// are provisioned before their handlers; it must be called while the handlers are being
// provisioned. It adds no routes, because Caddy is iterating over them. It changes nothing
// if a route matches every request.
func Refuse(srv *caddyhttp.Server, handlerPrefix string) {
	h := &hosts{srv: srv, handlerPrefix: handlerPrefix}
	for i := range srv.Routes {
		h.add(&srv.Routes[i])
	}
	first, last := &srv.Routes[0], &srv.Routes[len(srv.Routes)-1]
	if h.site == "" || len(first.MatcherSets) == 0 || len(last.MatcherSets) == 0 {
		return
	}
	first.MatcherSets = append(caddyhttp.MatcherSets{{healthMatcher{h}}}, first.MatcherSets...)
	last.MatcherSets = append(last.MatcherSets[:len(last.MatcherSets):len(last.MatcherSets)], caddyhttp.MatcherSet{unknownHost{h}})
	if _, err := caddy.GetModule("http.handlers.osa_error"); err != nil {
		return // Caddy answers with the status alone
	}
	if srv.Errors == nil {
		srv.Errors = new(caddyhttp.HTTPErrorConfig)
	}
	srv.Errors.Routes = append(srv.Errors.Routes, caddyhttp.Route{
		MatcherSets: caddyhttp.MatcherSets{{errorOfUnknownHost{h}}},
		HandlersRaw: []json.RawMessage{json.RawMessage(`{"handler":"osa_error"}`)},
		Terminal:    true,
	})
}

func (h *hosts) add(route *caddyhttp.Route) {
	var names []string
	bound := len(route.MatcherSets) > 0
	for _, set := range route.MatcherSets {
		found := false
		for _, m := range set {
			switch host := m.(type) {
			case *caddyhttp.MatchHost:
				h.sites = append(h.sites, host)
				names, found = append(names, *host...), true
			case caddyhttp.MatchHost: // of a redirect to HTTPS
				h.sites, found = append(h.sites, host), true
			}
		}
		bound = bound && found
	}
	if !bound {
		h.open = append(h.open, route.MatcherSets)
	}
	// HandlersRaw is empty for handlers that are loaded already. None of those is of
	// this gateway. A route that has the health check is preferred.
	for _, raw := range route.HandlersRaw {
		if len(names) > 0 && bytes.Contains(raw, []byte(`"`+h.handlerPrefix)) && (h.site == "" || bytes.Contains(raw, []byte(`"osa_health"`))) {
			h.site = names[0]
		}
	}
}

// serves reports whether a site serves the request's host.
func (h *hosts) serves(r *http.Request) bool {
	for _, m := range h.sites {
		if ok, _ := m.MatchWithError(r); ok {
			return true
		}
	}
	return false
}

// anyHost reports whether a route for any host matches the request.
func (h *hosts) anyHost(r *http.Request) bool {
	for _, m := range h.open {
		if ok, err := m.AnyMatchWithError(r); ok || err != nil {
			return true
		}
	}
	return false
}

// enter sets the host of the request to that of the gateway's site.
func (h *hosts) enter(r *http.Request) {
	host := h.site
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		host = repl.ReplaceAll(host, "")
	}
	r.Host = strings.ReplaceAll(host, "*", "any")
}

// healthMatcher is evaluated first and never matches. It sends health checks to the
// gateway's site.
type healthMatcher struct{ *hosts }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m healthMatcher) MatchWithError(r *http.Request) (bool, error) {
	if r.URL.Path == healthPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) && !m.serves(r) && !m.anyHost(r) {
		m.enter(r)
	}
	return false, nil
}

// varMisdirected is set if enter has changed the host of a request.
const varMisdirected = "osa.misdirected"

// unknownHost is evaluated last and never matches. Its error is the 421.
type unknownHost struct{ *hosts }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m unknownHost) MatchWithError(r *http.Request) (bool, error) {
	if m.serves(r) {
		return false, nil
	}
	caddyhttp.SetVar(r.Context(), varMisdirected, true)
	m.enter(r)
	return false, misdirected(r).HandlerError()
}

// misdirected is the 421. The body is not read, so HTTP/1 closes the connection.
func misdirected(r *http.Request) *httperror.Error {
	p := &httperror.Error{
		Status: http.StatusMisdirectedRequest, Code: httperror.CodeMisdirected,
		Message: "This gateway does not serve the host that the request names",
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		p.Header = http.Header{"Connection": {"close"}}
	}
	return p
}

// errorOfUnknownHost matches errors of requests for hosts that no site serves. The error
// routes of sites do not match them.
type errorOfUnknownHost struct{ *hosts }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m errorOfUnknownHost) MatchWithError(r *http.Request) (bool, error) {
	misdirected, _ := caddyhttp.GetVar(r.Context(), varMisdirected).(bool)
	return misdirected || !m.serves(r), nil
}

// Interface guards
var (
	_ caddyhttp.RequestMatcherWithError = healthMatcher{}
	_ caddyhttp.RequestMatcherWithError = unknownHost{}
	_ caddyhttp.RequestMatcherWithError = errorOfUnknownHost{}
)
