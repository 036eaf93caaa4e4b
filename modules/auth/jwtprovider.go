package auth

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(JWTProvider)) }

// JWTProvider accepts RS256 tokens that are signed with one key.
type JWTProvider struct {
	// PublicKey is the issuer's RSA key as PEM, or @ and the path of a PEM file.
	// Placeholders such as {env.OSA_JWT_PUBLIC_KEY} are expanded. A file is read
	// when the configuration is loaded, and again when it has changed.
	PublicKey string `json:"public_key,omitempty"`
	// Issuer is the tokens' iss; default osa-system.
	Issuer string `json:"issuer,omitempty"`
	// Audience must be among the tokens' aud; default admin-interface.
	Audience string `json:"audience,omitempty"`

	name     string
	log      *zap.Logger
	verifier atomic.Pointer[Verifier]
	problems error
}

// CaddyModule returns the Caddy module information.
func (*JWTProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.auth.jwt", New: func() caddy.Module { return new(JWTProvider) }}
}

// Provision sets defaults and reads the key; Check tells what was wrong.
func (p *JWTProvider) Provision(ctx caddy.Context) error {
	p.name, p.log = osa.ProviderName(ctx), ctx.Logger()
	if p.Issuer == "" {
		p.Issuer = DefaultIssuer
	}
	if p.Audience == "" {
		p.Audience = DefaultAudience
	}
	files := osa.FilesIn(p.PublicKey, p.Issuer, p.Audience)
	if path, ok := strings.CutPrefix(strings.TrimSpace(caddy.NewReplacer().ReplaceAll(p.PublicKey, "")), "@"); ok {
		files = append(files, path)
	}
	p.problems = credentials.Load(ctx, credentials.Source{Kind: "jwt", Name: p.name, Files: files, Load: p.load, Log: p.log})
	return nil
}

// load puts the key in force that the configuration and its files name now.
func (p *JWTProvider) load() error {
	repl := caddy.NewReplacer()
	issuer, audience := repl.ReplaceAll(p.Issuer, ""), repl.ReplaceAll(p.Audience, "")
	var errs []error
	// An empty one would switch the check off.
	if issuer == "" {
		errs = append(errs, fmt.Errorf("%s is empty", osa.DescribeSetting("issuer", p.Issuer)))
	}
	if audience == "" {
		errs = append(errs, fmt.Errorf("%s is empty", osa.DescribeSetting("audience", p.Audience)))
	}
	key, err := readPublicKey(repl.ReplaceAll(p.PublicKey, ""))
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %w; set it to an RSA public key as PEM or to @ and the path of one, as `osa-gateway osa init` makes it",
			osa.DescribeSetting("public_key", p.PublicKey), err))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	old := p.verifier.Load()
	if old != nil && old.accepts(key, issuer, audience) {
		return nil // what it verified already, it knows
	}
	p.verifier.Store(NewVerifier(p.name, key, issuer, audience, nil))
	if old != nil {
		p.log.Info("the key that verifies tokens has changed, or what it verifies; tokens from before are not accepted any more", zap.String("provider", p.name))
	}
	return nil
}

// Claims goes by the shape: three parts with dots between them.
func (*JWTProvider) Claims(credential string) bool { return isTokenShaped(credential) }

// Chooses goes by the issuer and the audience that the token names.
func (p *JWTProvider) Chooses(credential string) bool { return p.verifier.Load().Chooses(credential) }

// Authenticate verifies the token.
func (p *JWTProvider) Authenticate(token string) (*osa.Principal, error) {
	return p.verifier.Load().Authenticate(token)
}

// Current tells whether the principal's token would be verified now.
func (p *JWTProvider) Current(principal *osa.Principal) (*osa.Principal, error) {
	return p.verifier.Load().Current(principal)
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
	_ osa.AuthProvider      = (*JWTProvider)(nil)
	_ osa.AuthChooser       = (*JWTProvider)(nil)
	_ caddy.Provisioner     = (*JWTProvider)(nil)
	_ caddyfile.Unmarshaler = (*JWTProvider)(nil)
)
