package auth

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(JWTProvider)) }

// JWTProvider accepts RS256 tokens that are signed with one key.
type JWTProvider struct {
	// PublicKey is the issuer's RSA key as PEM, or @ and the path of a PEM file.
	// Placeholders such as {env.OSA_JWT_PUBLIC_KEY} are expanded.
	PublicKey string `json:"public_key,omitempty"`
	// Issuer is the tokens' iss; default osa-system.
	Issuer string `json:"issuer,omitempty"`
	// Audience must be among the tokens' aud; default admin-interface.
	Audience string `json:"audience,omitempty"`

	*Verifier `json:"-"`
	problems  error
}

// CaddyModule returns the Caddy module information.
func (*JWTProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.auth.jwt", New: func() caddy.Module { return new(JWTProvider) }}
}

// Provision sets defaults and reads the key; Check tells what was wrong.
func (p *JWTProvider) Provision(caddy.Context) error {
	if p.Issuer == "" {
		p.Issuer = DefaultIssuer
	}
	if p.Audience == "" {
		p.Audience = DefaultAudience
	}
	repl := caddy.NewReplacer()
	issuer, audience := repl.ReplaceAll(p.Issuer, ""), repl.ReplaceAll(p.Audience, "")
	var errs []error
	// An empty one would switch the check off.
	if issuer == "" {
		errs = append(errs, fmt.Errorf("%s is empty", osa.DescribeSetting("jwt: issuer", p.Issuer)))
	}
	if audience == "" {
		errs = append(errs, fmt.Errorf("%s is empty", osa.DescribeSetting("jwt: audience", p.Audience)))
	}
	key, err := readPublicKey(repl.ReplaceAll(p.PublicKey, ""))
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %w; set it to an RSA public key as PEM or to @ and the path of one, as `osa-gateway osa init` makes it",
			osa.DescribeSetting("jwt: public_key", p.PublicKey), err))
	}
	p.Verifier = NewVerifier(key, issuer, audience, nil)
	p.problems = errors.Join(errs...)
	return nil
}

func readPublicKey(value string) (*rsa.PublicKey, error) {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil, errors.New("it is empty")
	}
	if path, ok := strings.CutPrefix(value, "@"); ok {
		b, err := readFile(path)
		if err != nil {
			return nil, err
		}
		return ParsePublicKeyPEM(b)
	}
	return ParsePublicKeyPEM([]byte(value))
}

// Check says what is wrong with the configuration.
func (p *JWTProvider) Check() error { return p.problems }

// Method is "jwt".
func (*JWTProvider) Method() string { return MethodJWT }

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	jwt {
//	    public_key <PEM, or @path>
//	    issuer     <text>
//	    audience   <text>
//	}
//
// All three may be placeholders, such as {env.OSA_JWT_PUBLIC_KEY}.
func (p *JWTProvider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // provider name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "public_key":
			err = value(d, &p.PublicKey)
		case "issuer":
			err = value(d, &p.Issuer)
		case "audience":
			err = value(d, &p.Audience)
		default:
			return d.Errf("unknown option %q of jwt: want public_key, issuer or audience", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ Provider              = (*JWTProvider)(nil)
	_ caddy.Provisioner     = (*JWTProvider)(nil)
	_ caddyfile.Unmarshaler = (*JWTProvider)(nil)
)
