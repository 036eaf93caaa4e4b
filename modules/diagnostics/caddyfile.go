package diagnostics

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseCaddyfile parses the directive osa_diagnostics.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_diagnostics [<matcher>] events|event|last_webhook|health {
//	    anonymous_workspace <workspace>
//	}
//
// All views but health need an osa_auth in front, unless anonymous_workspace
// says what a request without a principal may read.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if !d.NextArg() {
		return d.ArgErr()
	}
	h.View = d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "anonymous_workspace" {
			return d.Errf("unknown option %q of osa_diagnostics: want anonymous_workspace", d.Val())
		}
		if h.AnonymousWorkspace != "" {
			return d.Err("anonymous_workspace was already given")
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		if h.AnonymousWorkspace = d.Val(); h.AnonymousWorkspace == "" {
			return d.Err("anonymous_workspace must not be empty")
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
