package auth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseCaddyfile parses the directive osa_auth.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_auth [<matcher>] <provider...> {
//	    anonymous <workspace> <permission...>
//	}
//
// Providers are named as in the global option `osa { auth { … } }`, in the order in
// which they look at a credential. anonymous lets requests without credentials in;
// with it, no provider need be named.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	h.Providers = d.RemainingArgs()
	for d.NextBlock(0) {
		if d.Val() != "anonymous" {
			return d.Errf("unknown option %q of osa_auth: want anonymous; providers are configured in the global option, osa { auth { … } }, "+
				"and named after osa_auth", d.Val())
		}
		if h.Anonymous != nil {
			return d.Err("anonymous was already given")
		}
		args := d.RemainingArgs()
		if len(args) < 2 {
			return d.ArgErr()
		}
		h.Anonymous = &Anonymous{Workspace: args[0], Permissions: args[1:]}
	}
	return nil
}

// value parses an option that has one value and may stand once.
func value(d *caddyfile.Dispenser, dst *string) error {
	name := d.Val()
	if *dst != "" {
		return d.Errf("%s was already given", name)
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	*dst = d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
