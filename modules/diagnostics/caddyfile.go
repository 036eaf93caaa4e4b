package diagnostics

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseEvents parses the directive osa_events.
func ParseEvents(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Events)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// ParseDiagnostics parses the directive osa_diagnostics.
func ParseDiagnostics(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Diagnostics)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// ParseHealth parses the directive osa_health.
func ParseHealth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Health)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_events [<matcher>] {
//	    path_prefix <path>
//	}
//
// The block is optional.
func (h *Events) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalPathPrefix(d, &h.PathPrefix)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_diagnostics [<matcher>] {
//	    path_prefix <path>
//	}
//
// The block is optional.
func (h *Diagnostics) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalPathPrefix(d, &h.PathPrefix)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_health [<matcher>]
func (*Health) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unknown option %q of osa_health: it has none", d.Val())
	}
	return nil
}

func unmarshalPathPrefix(d *caddyfile.Dispenser, prefix *string) error {
	d.Next()
	directive := d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "path_prefix" {
			return d.Errf("unknown option %q of %s: want path_prefix", d.Val(), directive)
		}
		if *prefix != "" {
			return d.Err("path_prefix was already given")
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		if *prefix = d.Val(); *prefix == "" {
			return d.Err("path_prefix must not be empty")
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Events)(nil)
	_ caddyfile.Unmarshaler = (*Diagnostics)(nil)
	_ caddyfile.Unmarshaler = (*Health)(nil)
)
