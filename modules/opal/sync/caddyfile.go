package sync

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseCaddyfile parses the directive osa_sync.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Sync)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_sync [{
//	    answer_after <duration>
//	}]
//
// OPAL itself is configured in the global option osa.
func (s *Sync) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "answer_after" {
			return d.Errf("unknown option %q of osa_sync: want answer_after; OPAL is configured in the global option osa", d.Val())
		}
		if s.AnswerAfter != 0 {
			return d.Err("answer_after was already given")
		}
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		after, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("answer_after: %v", err)
		}
		s.AnswerAfter = caddy.Duration(after)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Sync)(nil)
