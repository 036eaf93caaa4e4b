package webhook

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// ParseCaddyfile parses the directive osa_webhook.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_webhook [<matcher>] <source> {
//	    mapping          <name>
//	    duplicate_status 200|409
//	    <options of the mapping>
//	}
//
// The mapping is the one with the name of the source, unless another one is named. The
// options of the mapping opal are strict_types and workflow_names.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if !d.NextArg() {
		return d.ArgErr()
	}
	mapping := d.Token()
	h.Source = mapping.Text
	if d.NextArg() {
		return d.ArgErr()
	}
	var options []caddyfile.Token
	named := false
	for d.NextBlock(0) {
		switch d.Val() {
		case "mapping":
			if named {
				return d.Err("mapping was already given")
			}
			named = true
			if !d.NextArg() {
				return d.ArgErr()
			}
			if mapping = d.Token(); d.NextArg() {
				return d.ArgErr()
			}
		case "duplicate_status":
			if h.DuplicateStatus != 0 {
				return d.Err("duplicate_status was already given")
			}
			var value string
			if !d.AllArgs(&value) {
				return d.ArgErr()
			}
			n, err := strconv.Atoi(value)
			if err != nil {
				return d.Errf("duplicate_status: %q is not a number", value)
			}
			h.DuplicateStatus = n
		default:
			options = append(options, d.NextSegment()...)
		}
	}
	if !named && options == nil {
		return nil // the mapping with the name of the source, as in JSON
	}
	guest, err := osa.UnmarshalGuest(d, "osa.mapping", "mapping", mapping, options)
	if err != nil {
		return err
	}
	h.MappingRaw = caddyconfig.JSONModuleObject(guest, "name", mapping.Text, nil)
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
