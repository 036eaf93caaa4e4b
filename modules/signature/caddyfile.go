package signature

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// ParseCaddyfile parses the directive osa_signature.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// mainSecret is the id of a secret that is given without one.
const mainSecret = "main"

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_signature [<matcher>] <scheme> [<secret>] {
//	    secret <id> <value> {
//	        workspace  <id>
//	        not_before <RFC 3339>
//	        not_after  <RFC 3339>
//	    }
//	    <options of the scheme>
//	}
//
// The blocks are optional, and `secret` can be repeated. A secret that follows the
// scheme has the id `main`. Values and workspaces may be placeholders such as
// {env.OSA_WEBHOOK_SHARED_SECRET} or {file./path}.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Token()
	if d.NextArg() {
		h.Secrets = []Secret{{ID: mainSecret, Value: d.Val()}}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	var options []caddyfile.Token
	for d.NextBlock(0) {
		switch d.Val() {
		case "secret":
			s, err := unmarshalSecret(d)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(h.Secrets, func(other Secret) bool { return other.ID == s.ID }) {
				return d.Errf("secret %s was already given", s.ID)
			}
			h.Secrets = append(h.Secrets, s)
		default:
			options = append(options, d.NextSegment()...)
		}
	}
	scheme, err := osa.UnmarshalGuest(d, "osa.signature", "signature scheme", name, options)
	if err != nil {
		return err
	}
	h.SchemeRaw = caddyconfig.JSONModuleObject(scheme, "name", name.Text, nil)
	return nil
}

func unmarshalSecret(d *caddyfile.Dispenser) (Secret, error) {
	var s Secret
	if !d.Args(&s.ID, &s.Value) || d.NextArg() {
		return s, d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var dst *string
		switch d.Val() {
		case "workspace":
			dst = &s.Workspace
		case "not_before":
			dst = &s.NotBefore
		case "not_after":
			dst = &s.NotAfter
		default:
			return s, d.Errf("unknown option %q of secret: want workspace, not_before or not_after", d.Val())
		}
		if *dst != "" {
			return s, d.Errf("%s was already given", d.Val())
		}
		if !d.NextArg() {
			return s, d.ArgErr()
		}
		*dst = d.Val()
		if d.NextArg() {
			return s, d.ArgErr()
		}
	}
	return s, nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
