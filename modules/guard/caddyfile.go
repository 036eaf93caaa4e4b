package guard

import (
	"math"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

// ParseGuard parses the directive osa_guard.
func ParseGuard(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(Guard)
	if err := g.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return g, nil
}

// ParseError parses the directive osa_error.
func ParseError(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	e := new(Error)
	if err := e.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return e, nil
}

// UnmarshalCaddyfile sets up the guard from Caddyfile tokens. Syntax:
//
//	osa_guard {
//	    max_body      <size>
//	    content_types <type...>
//	    max_inflight  <size>
//	    min_rate      <size> [<grace>]
//	}
//
// Everything is optional. Sizes are such as 10MB or 10MiB; the one of min_rate is
// for each second.
func (g *Guard) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		var err error
		switch d.Val() {
		case "max_body":
			err = size(d, &g.MaxBody)
		case "max_inflight":
			err = size(d, &g.MaxInflight)
		case "min_rate":
			err = g.unmarshalMinRate(d)
		case "content_types":
			if g.ContentTypes != nil {
				return d.Err("content_types was already given")
			}
			if g.ContentTypes = d.RemainingArgs(); len(g.ContentTypes) == 0 {
				return d.ArgErr()
			}
		default:
			return d.Errf("unknown option %q of osa_guard: want max_body, content_types, max_inflight or min_rate", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *Guard) unmarshalMinRate(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if g.MinRate != 0 {
		return d.Err("min_rate was already given")
	}
	if len(args) == 0 || len(args) > 2 {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(args[0])
	if err != nil {
		return d.Errf("min_rate: %v", err)
	}
	if n == 0 || n > math.MaxInt64 {
		return d.Errf("min_rate: %q is out of range", args[0])
	}
	g.MinRate = int64(n)
	if len(args) == 2 {
		grace, err := caddy.ParseDuration(args[1])
		if err != nil || grace <= 0 {
			return d.Errf("min_rate: %q is not a duration such as 5s", args[1])
		}
		g.Grace = caddy.Duration(grace)
	}
	return nil
}

func size(d *caddyfile.Dispenser, dst *int64) error {
	name := d.Val()
	if *dst != 0 {
		return d.Errf("%s was already given", name)
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(d.Val())
	if err != nil {
		return d.Errf("%s: %v", name, err)
	}
	if n == 0 || n > math.MaxInt64 {
		return d.Errf("%s: %q is out of range", name, d.Val())
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	*dst = int64(n)
	return nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_error {
//	    support_contact <text>
//	    service_name    <name>
//	}
//
// Everything is optional.
func (e *Error) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		name := d.Val()
		var dst *string
		switch name {
		case "support_contact":
			dst = &e.SupportContact
		case "service_name":
			dst = &e.ServiceName
		default:
			return d.Errf("unknown option %q of osa_error: want support_contact or service_name", name)
		}
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
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Guard)(nil)
	_ caddyfile.Unmarshaler = (*Error)(nil)
)
