package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Require)) }

// Require lets requests pass whose caller holds all of the permissions. It guards
// handlers that know nothing of permissions, such as reverse_proxy: those of this
// gateway ask for their permissions themselves.
type Require struct {
	// Permissions are those that the caller must hold.
	Permissions []string `json:"permissions,omitempty"`

	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (*Require) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_require", New: func() caddy.Module { return new(Require) }}
}

// Provision prepares the server.
func (h *Require) Provision(ctx caddy.Context) error {
	h.ctx = ctx
	_, err := osa.Of(ctx)
	return err
}

// Validate names everything that is wrong at once.
func (h *Require) Validate() error {
	var errs []error
	if len(h.Permissions) == 0 {
		errs = append(errs, errors.New("no permission is named"))
	}
	for _, p := range h.Permissions {
		if !requirable(p) {
			errs = append(errs, fmt.Errorf("unknown permission %q; there are %s", p, strings.Join(osa.Permissions, ", ")))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_require: %w", err))
	}
	return nil
}

// requirable reports whether a permission can be required: one of those that there
// are, and not a pattern for several.
func requirable(p string) bool {
	return knownPermission(p) && (!strings.HasSuffix(p, "*") || p == osa.PermAllWorkspaces)
}

// ServeHTTP calls the next handler if the caller holds the permissions. It answers 401
// or 403 otherwise.
func (h *Require) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if _, err := osa.Require(r, h.Permissions...); err != nil {
		return err
	}
	return next.ServeHTTP(w, r)
}

// ParseRequire parses the directive osa_require.
func ParseRequire(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Require)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_require [<matcher>] <permission...>
func (h *Require) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if h.Permissions = d.RemainingArgs(); len(h.Permissions) == 0 {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unknown option %q of osa_require: it has none", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Require)(nil)
	_ caddy.Validator             = (*Require)(nil)
	_ caddyfile.Unmarshaler       = (*Require)(nil)
	_ caddyhttp.MiddlewareHandler = (*Require)(nil)
)
