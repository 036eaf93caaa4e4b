package signature

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/osa-edge/osa-gateway/signature"
)

func init() { caddy.RegisterModule(new(OSA)) }

// maxTolerance bounds for how long a captured request could be sent again.
const maxTolerance = time.Hour

// OSA is the gateway's own scheme: X-OSA-Signature: t=<unix seconds>,v1=<hex>.
type OSA struct {
	// Tolerance is how far the timestamp may be from now, either way; default
	// 300s.
	Tolerance caddy.Duration `json:"tolerance,omitempty"`

	*signature.OSA `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*OSA) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.signature.osa", New: func() caddy.Module { return new(OSA) }}
}

// Provision sets the default.
func (s *OSA) Provision(caddy.Context) error {
	if s.Tolerance == 0 {
		s.Tolerance = caddy.Duration(signature.DefaultTolerance)
	}
	s.OSA = signature.NewOSA(time.Duration(s.Tolerance))
	return nil
}

// Validate checks the tolerance.
func (s *OSA) Validate() error {
	if t := time.Duration(s.Tolerance); t < time.Second || t > maxTolerance {
		return fmt.Errorf("tolerance is %v; want 1s to %v", t, maxTolerance)
	}
	return nil
}

// UnmarshalCaddyfile sets up the scheme from Caddyfile tokens. Syntax:
//
//	osa {
//	    tolerance <duration>
//	}
func (s *OSA) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // scheme name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "tolerance" {
			return d.Errf("unknown option %q of osa_signature osa: want secret or tolerance", d.Val())
		}
		if s.Tolerance != 0 {
			return d.Err("tolerance was already given")
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		t, err := caddy.ParseDuration(d.Val())
		if err != nil {
			return d.Errf("tolerance: %v", err)
		}
		if t <= 0 {
			return d.Err("tolerance must be positive")
		}
		if d.NextArg() {
			return d.ArgErr()
		}
		s.Tolerance = caddy.Duration(t)
	}
	return nil
}

// Interface guards
var (
	_ signature.Scheme      = (*OSA)(nil)
	_ caddy.Provisioner     = (*OSA)(nil)
	_ caddy.Validator       = (*OSA)(nil)
	_ caddyfile.Unmarshaler = (*OSA)(nil)
)
