package auth

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/signature"
)

func init() { caddy.RegisterModule(new(KeyProvider)) }

// KeyProvider accepts API keys. What it keeps of them are hashes, in the
// configuration, in a file, or both.
type KeyProvider struct {
	// Prefix is what keys begin with; default opal_prod_.
	Prefix string `json:"prefix,omitempty"`
	// Pepper is the secret under which keys are hashed. Placeholders such as
	// {env.OSA_KEY_PEPPER} are expanded.
	Pepper string `json:"pepper,omitempty"`
	// File holds records of keys as {"keys":[…]}. Placeholders are expanded. It
	// is read when the configuration is loaded, and again when it has changed.
	File string `json:"file,omitempty"`
	// Records are those of keys. Placeholders in hash and workspace are expanded;
	// the workspace's default is the environment variable OPAL_WORKSPACE_ID, then
	// `default`.
	Records []KeyRecord `json:"records,omitempty"`

	name     string
	log      *zap.Logger
	ring     atomic.Pointer[Keyring]
	problems error
}

// CaddyModule returns the Caddy module information.
func (*KeyProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.auth.key", New: func() caddy.Module { return new(KeyProvider) }}
}

// Provision sets defaults and reads the keys; Check tells what was wrong.
func (p *KeyProvider) Provision(ctx caddy.Context) error {
	p.name, p.log = osa.ProviderName(ctx), ctx.Logger()
	if p.Prefix == "" {
		p.Prefix = DefaultPrefix
	}
	values := []string{p.Pepper}
	for _, k := range p.Records {
		values = append(values, k.Hash, k.WorkspaceID)
	}
	files := osa.FilesIn(append(values, p.File)...)
	if path := caddy.NewReplacer().ReplaceAll(p.File, ""); path != "" {
		files = append(files, path)
	}
	p.problems = credentials.Load(ctx, credentials.Source{Kind: "key", Name: p.name, Files: files, Load: p.load, Log: p.log})
	return nil
}

// load puts the keys in force that the configuration and its files name now.
func (p *KeyProvider) load() error {
	repl := caddy.NewReplacer()
	var errs []error
	pepper := repl.ReplaceAll(p.Pepper, "")
	errs = append(errs, signature.CheckSecret(osa.DescribeSetting("pepper", p.Pepper), pepper))
	if !isToken(p.Prefix) {
		errs = append(errs, fmt.Errorf("prefix %q cannot stand in an Authorization header", p.Prefix))
	}

	var records []KeyRecord
	switch path := repl.ReplaceAll(p.File, ""); {
	case p.File != "" && path == "":
		errs = append(errs, fmt.Errorf("%s is empty; set it to a file of keys, as `osa-gateway osa init` makes one", osa.DescribeSetting("file", p.File)))
	case p.File != "":
		fromFile, err := ReadKeyFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w; `osa-gateway osa init` makes such a file", err))
		}
		records = fromFile
	case len(p.Records) == 0:
		errs = append(errs, errors.New("there are no keys: name a file, or write them into the configuration"))
	}
	for _, k := range p.Records {
		k.Hash = repl.ReplaceAll(k.Hash, "")
		k.WorkspaceID = osa.ExpandWorkspace(repl, k.WorkspaceID)
		records = append(records, k)
	}
	if err := errors.Join(append(errs, CheckKeyRecords(records))...); err != nil {
		return err
	}
	ring := NewKeyring(p.name, p.Prefix, pepper, records, nil)
	if old := p.ring.Swap(ring); old != nil {
		if added, removed, changed := ring.difference(old); len(added)+len(removed)+len(changed) > 0 {
			p.log.Info("API keys have changed", zap.String("provider", p.name),
				zap.Strings("added", added), zap.Strings("removed", removed), zap.Strings("changed", changed))
		}
	}
	return nil
}

// Claims goes by the prefix.
func (p *KeyProvider) Claims(credential string) bool { return p.ring.Load().Claims(credential) }

// Authenticate looks the key up by its hash.
func (p *KeyProvider) Authenticate(key string) (*osa.Principal, error) {
	return p.ring.Load().Authenticate(key)
}

// Current looks up the key that the principal came with.
func (p *KeyProvider) Current(principal *osa.Principal) (*osa.Principal, error) {
	return p.ring.Load().Current(principal)
}

// Check says what is wrong with the configuration.
func (p *KeyProvider) Check() error { return p.problems }

// Method is "api_key".
func (*KeyProvider) Method() string { return MethodKey }

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	key {
//	    prefix <text>
//	    pepper <secret>
//	    file   <path>
//	    record <id> <hash> {
//	        name        <text>
//	        workspace   <id>
//	        permissions <permission...>
//	        expires_at  <RFC 3339>
//	    }
//	}
//
// `record` can be repeated. Pepper, file, hash and workspace may be placeholders
// such as {env.OSA_KEY_PEPPER}.
func (p *KeyProvider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // provider name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "prefix":
			err = value(d, &p.Prefix)
		case "pepper":
			err = value(d, &p.Pepper)
		case "file":
			err = value(d, &p.File)
		case "record":
			err = p.unmarshalRecord(d)
		default:
			return d.Errf("unknown option %q of key: want prefix, pepper, file or record", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *KeyProvider) unmarshalRecord(d *caddyfile.Dispenser) error {
	var k KeyRecord
	if !d.Args(&k.ID, &k.Hash) || d.NextArg() {
		return d.ArgErr()
	}
	for _, other := range p.Records {
		if other.ID == k.ID {
			return d.Errf("record %s was already given", k.ID)
		}
	}
	var expires string
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "name":
			err = value(d, &k.Name)
		case "workspace":
			err = value(d, &k.WorkspaceID)
		case "permissions":
			if k.Permissions != nil {
				return d.Err("permissions was already given")
			}
			if k.Permissions = d.RemainingArgs(); len(k.Permissions) == 0 {
				return d.ArgErr()
			}
		case "expires_at":
			if err = value(d, &expires); err != nil {
				return err
			}
			t, parseErr := time.Parse(time.RFC3339, expires)
			if parseErr != nil {
				return d.Errf("expires_at: %q is not a time such as 2026-12-31T23:59:59Z", expires)
			}
			k.ExpiresAt = &t
		default:
			return d.Errf("unknown option %q of record %s: want name, workspace, permissions or expires_at", d.Val(), k.ID)
		}
		if err != nil {
			return err
		}
	}
	p.Records = append(p.Records, k)
	return nil
}

// Interface guards
var (
	_ osa.AuthProvider      = (*KeyProvider)(nil)
	_ caddy.Provisioner     = (*KeyProvider)(nil)
	_ caddyfile.Unmarshaler = (*KeyProvider)(nil)
)
