package osa

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/descriptors"
	"github.com/osa-edge/osa-gateway/internal/memory"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger"
	"github.com/osa-edge/osa-gateway/storage/badger/convert"
)

func init() { caddy.RegisterModule(new(Badger)) }

// Badger keeps the log in an embedded Badger store: the default engine, for one
// node.
type Badger struct {
	// Path is the store's directory; default `osa` in Caddy's data directory.
	// Placeholders are expanded when the configuration is loaded.
	Path string `json:"path,omitempty"`
	// Reserve is how many bytes of the file system stay free: below it events
	// are refused with 503, until there is room again. Default 256 MiB.
	Reserve int64 `json:"reserve,omitempty"`
	// Ballast is the size in bytes of a file that is given up when the disk is
	// full, so that what is under way can be finished. Default 64 MiB.
	Ballast int64 `json:"ballast,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (*Badger) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.storage.badger", New: func() caddy.Module { return new(Badger) }}
}

// Provision expands the path. It does not touch the disk.
func (b *Badger) Provision(caddy.Context) error {
	if b.Path == "" {
		b.Path = filepath.Join(caddy.AppDataDir(), "osa")
	}
	b.path = caddy.NewReplacer().ReplaceAll(b.Path, "")
	if b.Reserve == 0 {
		b.Reserve = badger.DefaultReserve
	}
	if b.Ballast == 0 {
		b.Ballast = badger.DefaultBallast
	}
	return nil
}

// Validate checks the options.
func (b *Badger) Validate() error {
	var errs []error
	if b.path == "" {
		errs = append(errs, fmt.Errorf("storage badger: path %q expands to nothing: set the variable that it names", b.Path))
	}
	if b.Reserve < 0 {
		errs = append(errs, errors.New("storage badger: reserve must not be negative"))
	}
	if b.Ballast < 0 {
		errs = append(errs, errors.New("storage badger: ballast must not be negative"))
	}
	return errors.Join(errs...)
}

// StoreKey is the canonical path, so that a store reached through a link or a
// relative path is known for the same.
func (b *Badger) StoreKey() (string, error) {
	abs, err := filepath.Abs(b.path)
	if err != nil {
		return "", fmt.Errorf("storage badger: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return "", fmt.Errorf("storage badger: creating the store's directory: %w", err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("storage badger: %w", err)
	}
	return real, nil
}

// StoreOptions are the options that an open store cannot change.
func (b *Badger) StoreOptions() string {
	return fmt.Sprintf("badger reserve=%d ballast=%d", b.Reserve, b.Ballast)
}

// OpenStore implements Engine.
func (b *Badger) OpenStore(logger *zap.Logger, poisoned bool) (storage.Store, error) {
	path, err := b.StoreKey()
	if err != nil {
		return nil, err
	}
	budget := memory.Process()
	return badger.Open(path, badger.Options{
		Reserve: b.Reserve, Ballast: b.Ballast, FilterBytes: budget.Filter, TableBytes: budget.Tables,
		Files: descriptors.Process().Files, Logger: logger, Poisoned: poisoned,
	})
}

// Conversion implements Converter: stores of format 1 are converted.
func (b *Badger) Conversion(logger *zap.Logger) (Conversion, error) {
	path, err := b.StoreKey()
	if err != nil {
		return nil, err
	}
	c, err := convert.New(path, convert.Options{Reserve: b.Reserve, Logger: logger})
	if err != nil || c == nil {
		return nil, err
	}
	return c, nil
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	storage badger {
//	    path    <directory>
//	    reserve <size>
//	    ballast <size>
//	}
func (b *Badger) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // engine name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s was already given", name)
		}
		seen[name] = true
		if !d.NextArg() {
			return d.ArgErr()
		}
		value := d.Val()
		switch name {
		case "path":
			b.Path = value
		case "reserve", "ballast":
			n, err := humanize.ParseBytes(value)
			if err != nil {
				return d.Errf("%s: %v", name, err)
			}
			if name == "reserve" {
				b.Reserve = int64(n)
			} else {
				b.Ballast = int64(n)
			}
		default:
			return d.Errf("unknown option %q of storage badger: want path, reserve or ballast", name)
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guards
var (
	_ Engine                = (*Badger)(nil)
	_ Converter             = (*Badger)(nil)
	_ caddy.Provisioner     = (*Badger)(nil)
	_ caddy.Validator       = (*Badger)(nil)
	_ caddyfile.Unmarshaler = (*Badger)(nil)
)
