package webhook

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
//	    strict_types
//	    duplicate_status 200|409
//	    workflow_names   <name...>
//	    unsigned         <workspace>
//	}
//
// The mapping is the one named like the source unless another is named; `opal`
// is known. strict_types refuses unknown event types. unsigned accepts events
// without a signature, in development only.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if !d.NextArg() {
		return d.ArgErr()
	}
	h.Source = d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s was already given", name)
		}
		seen[name] = true
		args := d.RemainingArgs()
		switch name {
		case "mapping", "unsigned", "duplicate_status":
			if len(args) != 1 {
				return d.ArgErr()
			}
		case "strict_types":
			if len(args) != 0 {
				return d.ArgErr()
			}
		case "workflow_names":
			if len(args) == 0 {
				return d.ArgErr()
			}
		}
		switch name {
		case "mapping":
			h.Mapping = args[0]
		case "unsigned":
			if h.Unsigned = args[0]; h.Unsigned == "" {
				return d.Err("unsigned must not be empty")
			}
		case "strict_types":
			h.StrictTypes = true
		case "workflow_names":
			h.WorkflowNames = args
		case "duplicate_status":
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return d.Errf("duplicate_status: %q is not a number", args[0])
			}
			h.DuplicateStatus = n
		default:
			return d.Errf("unknown option %q of osa_webhook: want mapping, strict_types, duplicate_status, workflow_names or unsigned", name)
		}
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
