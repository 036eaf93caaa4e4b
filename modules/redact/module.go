package redact

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

func init() { caddy.RegisterModule(new(Encoder)) }

// Encoder is a log encoder that replaces credentials by REDACTED and passes the entry to
// the encoder that it wraps. It checks every field at any depth: the name of the field or
// header, the decoded names of the parameters of a URL, and the form of the value. Numbers
// and booleans do not change.
type Encoder struct {
	// WrappedRaw is the encoder that writes the line. Without one it is "json", or
	// "console" where the log goes to a terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	// What is added to a logger rather than to an entry goes through object.
	object `json:"-"`

	wrapped   zapcore.Encoder
	byDefault bool
	ctx       caddy.Context
}

// CaddyModule returns the Caddy module information.
func (*Encoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.osa_redact", New: func() caddy.Module { return new(Encoder) }}
}

// Provision loads the wrapped encoder.
func (e *Encoder) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	if e.WrappedRaw == nil {
		e.byDefault = true
		wrapped := new(logging.JSONEncoder)
		if err := wrapped.Provision(ctx); err != nil {
			return fmt.Errorf("the json encoder: %w", err)
		}
		e.wrap(wrapped)
		return nil
	}
	module, err := ctx.LoadModule(e, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("the wrapped encoder: %w", err)
	}
	wrapped, ok := module.(zapcore.Encoder)
	if !ok {
		return fmt.Errorf("the wrapped module %T is no log encoder", module)
	}
	e.wrap(wrapped)
	return nil
}

func (e *Encoder) wrap(wrapped zapcore.Encoder) { e.wrapped, e.object = wrapped, object{wrapped} }

// ConfigureDefaultFormat chooses the console format where none is named and the log
// goes to a terminal.
func (e *Encoder) ConfigureDefaultFormat(out caddy.WriterOpener) error {
	if !e.byDefault {
		if inner, ok := e.wrapped.(caddy.ConfiguresFormatterDefault); ok {
			return inner.ConfigureDefaultFormat(out)
		}
		return nil
	}
	if caddy.IsWriterStandardStream(out) && term.IsTerminal(int(os.Stderr.Fd())) {
		console := new(logging.ConsoleEncoder)
		if err := console.Provision(e.ctx); err != nil {
			return fmt.Errorf("the console encoder: %w", err)
		}
		e.wrap(console)
	}
	return nil
}

// UnmarshalCaddyfile sets the encoder up from Caddyfile tokens. Syntax:
//
//	osa_redact [<format> [{
//	    <options of the format>
//	}]]
//
// or
//
//	osa_redact {
//	    wrap <format> [{
//	        <options of the format>
//	    }]
//	}
func (e *Encoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the encoder's name
	if d.NextArg() {
		return e.unmarshalWrapped(d)
	}
	for d.NextBlock(0) {
		if d.Val() != "wrap" {
			return d.Errf("unknown option %q: osa_redact has `wrap <format>`", d.Val())
		}
		if e.WrappedRaw != nil {
			return d.Err("wrap is given twice")
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		if err := e.unmarshalWrapped(d); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) unmarshalWrapped(d *caddyfile.Dispenser) error {
	name := d.Val()
	id := "caddy.logging.encoders." + name
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	wrapped, ok := module.(zapcore.Encoder)
	if !ok {
		return d.Errf("module %s (%T) is no log encoder", id, module)
	}
	e.WrappedRaw = caddyconfig.JSONModuleObject(wrapped, "format", name, nil)
	return nil
}

// Interface guards
var (
	_ zapcore.Encoder                  = (*Encoder)(nil)
	_ caddy.Provisioner                = (*Encoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*Encoder)(nil)
	_ caddyfile.Unmarshaler            = (*Encoder)(nil)
)
