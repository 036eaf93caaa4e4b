package osa

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

// healthPath answers to any host: load balancers ask by address.
const healthPath = "/api/health"

// hosts are those that a server's sites serve.
//
// Caddy answers 200 with nothing to what no route takes, and so to every host that
// no site serves. Here that is 421 (RFC 9110 §15.5.20). A matcher that is asked
// last, when no route has matched, says so: it hides nobody's site, and neither
// redirects to HTTPS nor ACME challenges, which come before it. The request then
// goes on with a host of the gateway's own site, so that it is logged and its error
// is written as that site does it.
type hosts struct {
	srv   *caddyhttp.Server
	sites []caddyhttp.RequestMatcherWithError
	// site is a host of the site that has this gateway's handlers.
	site string
	// open are the routes for any host, by their own matchers.
	open []caddyhttp.MatcherSets
}

// refuseUnknownHosts adds to the matchers of a server's routes, which are
// provisioned before its handlers. It adds no route to those that are being
// provisioned: Caddy walks over them. A server with a route for everything has no
// unknown hosts.
func refuseUnknownHosts(srv *caddyhttp.Server) {
	h := &hosts{srv: srv}
	for i := range srv.Routes {
		h.add(&srv.Routes[i])
	}
	first, last := &srv.Routes[0], &srv.Routes[len(srv.Routes)-1]
	if h.site == "" || len(first.MatcherSets) == 0 || len(last.MatcherSets) == 0 {
		return
	}
	first.MatcherSets = append(caddyhttp.MatcherSets{{healthAnywhere{h}}}, first.MatcherSets...)
	last.MatcherSets = append(last.MatcherSets[:len(last.MatcherSets):len(last.MatcherSets)], caddyhttp.MatcherSet{noSuchHost{h}})
	if _, err := caddy.GetModule("http.handlers.osa_error"); err != nil {
		return // Caddy answers with the status alone
	}
	if srv.Errors == nil {
		srv.Errors = new(caddyhttp.HTTPErrorConfig)
	}
	srv.Errors.Routes = append(srv.Errors.Routes, caddyhttp.Route{
		MatcherSets: caddyhttp.MatcherSets{{ofNoSite{h}}},
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
	// The handlers of routes before the one that calls are loaded, and none of
	// them is this gateway's. Of the others, one that shows health is preferred.
	for _, raw := range route.HandlersRaw {
		if len(names) > 0 && bytes.Contains(raw, []byte(`"`+handlerPrefix)) && (h.site == "" || bytes.Contains(raw, []byte(`"osa_health"`))) {
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

// anybody reports whether a route for any host takes the request.
func (h *hosts) anybody(r *http.Request) bool {
	for _, m := range h.open {
		if ok, err := m.AnyMatchWithError(r); ok || err != nil {
			return true
		}
	}
	return false
}

// enter gives the request the host of the gateway's site.
func (h *hosts) enter(r *http.Request) {
	host := h.site
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		host = repl.ReplaceAll(host, "")
	}
	r.Host = strings.ReplaceAll(host, "*", "any")
}

// healthAnywhere is asked first, and never matches.
type healthAnywhere struct{ *hosts }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m healthAnywhere) MatchWithError(r *http.Request) (bool, error) {
	if r.URL.Path == healthPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) && !m.serves(r) && !m.anybody(r) {
		m.enter(r)
	}
	return false, nil
}

// varMisdirected is set where the request's host is not the client's any more.
const varMisdirected = "osa.misdirected"

// noSuchHost is asked last, and never matches.
type noSuchHost struct{ *hosts }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m noSuchHost) MatchWithError(r *http.Request) (bool, error) {
	if m.serves(r) {
		return false, nil
	}
	caddyhttp.SetVar(r.Context(), varMisdirected, true)
	m.enter(r)
	return false, misdirected(r).HandlerError()
}

// misdirected is the 421. A body is not read: HTTP/1 ends the connection instead.
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

// ofNoSite matches errors that no site's error routes may match: of a host that
// none serves, whoever made them.
type ofNoSite struct{ *hosts }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m ofNoSite) MatchWithError(r *http.Request) (bool, error) {
	misdirected, _ := caddyhttp.GetVar(r.Context(), varMisdirected).(bool)
	return misdirected || !m.serves(r), nil
}

// Interface guards
var (
	_ caddyhttp.RequestMatcherWithError = healthAnywhere{}
	_ caddyhttp.RequestMatcherWithError = noSuchHost{}
	_ caddyhttp.RequestMatcherWithError = ofNoSite{}
)
