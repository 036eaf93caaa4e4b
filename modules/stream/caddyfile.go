package stream

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseCaddyfile sets up the handler from the directive osa_stream.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_stream {
//	    heartbeat                 <duration>
//	    write_timeout             <duration>
//	    max_streams               <number>
//	    max_streams_per_principal <number>
//	    on_slow                   catch_up|latest|disconnect
//	    keep_connections
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		if option == "keep_connections" {
			h.KeepConnections = true
			if d.NextArg() {
				return d.ArgErr()
			}
			continue
		}
		var value string
		if !d.Args(&value) {
			return d.ArgErr()
		}
		var err error
		switch option {
		case "heartbeat":
			h.Heartbeat, err = duration(d, value)
		case "write_timeout":
			h.WriteTimeout, err = duration(d, value)
		case "max_streams":
			h.MaxStreams, err = number(d, value)
		case "max_streams_per_principal":
			h.MaxStreamsPerPrincipal, err = number(d, value)
		case "on_slow":
			if _, ok := policies[value]; !ok {
				err = d.Errf("unknown on_slow %q: want catch_up, latest or disconnect", value)
			}
			h.OnSlow = value
		default:
			return d.Errf("unknown option %q of osa_stream", option)
		}
		if err != nil {
			return err
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}

func duration(d *caddyfile.Dispenser, value string) (caddy.Duration, error) {
	v, err := caddy.ParseDuration(value)
	if err != nil || v <= 0 {
		return 0, d.Errf("%q is not a positive duration", value)
	}
	return caddy.Duration(v), nil
}

func number(d *caddyfile.Dispenser, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 {
		return 0, d.Errf("%q is not a positive number", value)
	}
	return n, nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
