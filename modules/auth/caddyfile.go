package auth

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
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
//	osa_auth {
//	    <provider> {
//	        <options of the provider>
//	    }
//	    require <permission...>
//	}
//
// Providers are `key` and `jwt`, in the order in which they look at a
// credential. All of the permissions are required.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	var seen []string
	for d.NextBlock(0) {
		name := d.Val()
		if slices.Contains(seen, name) {
			return d.Errf("%s was already given", name)
		}
		seen = append(seen, name)
		if name == "require" {
			if h.Require = d.RemainingArgs(); len(h.Require) == 0 {
				return d.ArgErr()
			}
			continue
		}
		if _, err := caddy.GetModule("osa.auth." + name); err != nil {
			return d.Errf("unknown option %q of osa_auth: want require or a provider: %s", name, strings.Join(providers(), ", "))
		}
		mod, err := caddyfile.UnmarshalModule(d, "osa.auth."+name)
		if err != nil {
			return err
		}
		h.ProvidersRaw = append(h.ProvidersRaw, caddyconfig.JSONModuleObject(mod, "provider", name, nil))
	}
	return nil
}

func providers() []string {
	var names []string
	for _, m := range caddy.GetModules("osa.auth") {
		names = append(names, m.ID.Name())
	}
	return names
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
