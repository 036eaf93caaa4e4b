package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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
	// is read when the configuration is loaded.
	File string `json:"file,omitempty"`
	// Keys are records of keys. Placeholders in hash and workspace are expanded;
	// the workspace's default is the environment variable OPAL_WORKSPACE_ID, then
	// `default`.
	Keys []KeyRecord `json:"keys,omitempty"`

	*Keyring `json:"-"`
	problems error
}

// CaddyModule returns the Caddy module information.
func (*KeyProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.auth.key", New: func() caddy.Module { return new(KeyProvider) }}
}

// Provision sets defaults and reads the keys; Check tells what was wrong.
func (p *KeyProvider) Provision(caddy.Context) error {
	if p.Prefix == "" {
		p.Prefix = DefaultPrefix
	}
	repl := caddy.NewReplacer()
	var errs []error
	pepper := repl.ReplaceAll(p.Pepper, "")
	errs = append(errs, signature.CheckSecret(osa.DescribeSetting("key: pepper", p.Pepper), pepper))
	if !isToken(p.Prefix) {
		errs = append(errs, fmt.Errorf("key: prefix %q cannot stand in an Authorization header", p.Prefix))
	}

	var records []KeyRecord
	switch path := repl.ReplaceAll(p.File, ""); {
	case p.File != "" && path == "":
		errs = append(errs, fmt.Errorf("%s is empty; set it to a file of keys, as `osa-gateway osa init` makes one", osa.DescribeSetting("key: file", p.File)))
	case p.File != "":
		fromFile, err := ReadKeyFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("key: %w; `osa-gateway osa init` makes such a file", err))
		}
		records = fromFile
	case len(p.Keys) == 0:
		errs = append(errs, errors.New("key: there are no keys: name a file, or write them into the configuration"))
	}
	for _, k := range p.Keys {
		k.Hash = repl.ReplaceAll(k.Hash, "")
		k.WorkspaceID = osa.ExpandWorkspace(repl, k.WorkspaceID)
		records = append(records, k)
	}
	if err := CheckKeyRecords(records); err != nil {
		errs = append(errs, err)
	}
	p.Keyring = NewKeyring(p.Prefix, pepper, records, nil)
	p.problems = errors.Join(errs...)
	return nil
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
//	    key <id> <hash> {
//	        name        <text>
//	        workspace   <id>
//	        permissions <permission...>
//	        expires     <RFC 3339>
//	    }
//	}
//
// `key` can be repeated. Pepper, file, hash and workspace may be placeholders
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
		case "key":
			err = p.unmarshalKey(d)
		default:
			return d.Errf("unknown option %q of key: want prefix, pepper, file or key", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *KeyProvider) unmarshalKey(d *caddyfile.Dispenser) error {
	var k KeyRecord
	if !d.Args(&k.ID, &k.Hash) || d.NextArg() {
		return d.ArgErr()
	}
	for _, other := range p.Keys {
		if other.ID == k.ID {
			return d.Errf("key %s was already given", k.ID)
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
		case "expires":
			if err = value(d, &expires); err != nil {
				return err
			}
			t, parseErr := time.Parse(time.RFC3339, expires)
			if parseErr != nil {
				return d.Errf("expires: %q is not a time such as 2026-12-31T23:59:59Z", expires)
			}
			k.ExpiresAt = &t
		default:
			return d.Errf("unknown option %q of key %s: want name, workspace, permissions or expires", d.Val(), k.ID)
		}
		if err != nil {
			return err
		}
	}
	p.Keys = append(p.Keys, k)
	return nil
}

// Interface guards
var (
	_ Provider              = (*KeyProvider)(nil)
	_ caddy.Provisioner     = (*KeyProvider)(nil)
	_ caddyfile.Unmarshaler = (*KeyProvider)(nil)
)
