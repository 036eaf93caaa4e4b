package osa

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Verifier is a handler that verifies the signatures of requests.
type Verifier interface {
	// SchemeName is the name of the signature scheme.
	SchemeName() string
}

// VerifierBefore is the verifier that requests pass on their way to a handler of this
// configuration, or some of them, nil if there is none.
func VerifierBefore(ctx caddy.Context, h caddyhttp.MiddlewareHandler) Verifier {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		if v, found := verifierBefore(server.Routes, h, nil); found {
			return v
		}
	}
	return nil
}

// verifierBefore looks for h in the routes and what they contain. last is the verifier
// that requests have passed before they come to the routes.
func verifierBefore(routes caddyhttp.RouteList, h caddyhttp.MiddlewareHandler, last Verifier) (v Verifier, found bool) {
	for _, route := range routes {
		before := last
		for _, other := range route.Handlers {
			if other == h {
				return last, true
			}
			if sub, ok := other.(*caddyhttp.Subroute); ok {
				if v, found := verifierBefore(sub.Routes, h, last); found {
					return v, true
				}
			}
			if v, ok := other.(Verifier); ok {
				last = v
			}
		}
		if route.Group != "" {
			last = before // of the routes of a group, a request passes one
		}
	}
	return nil, false
}
