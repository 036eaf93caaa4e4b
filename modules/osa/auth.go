package osa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// AuthProvider checks one kind of credential. Providers are guest modules in the
// namespace osa.auth and safe for concurrent use. They are configured in the app,
// each under a name, and handlers refer to them by it.
type AuthProvider interface {
	// Method names the kind: "api_key", "jwt".
	Method() string
	// Claims reports whether the credential has the shape of this kind. Who
	// claims a credential decides on it: nothing else is tried.
	Claims(credential string) bool
	// Authenticate returns whose credential it is. The principal's Provider is
	// ProviderName of the context that the provider was provisioned with.
	// Otherwise the error is a Refusal.
	Authenticate(credential string) (*Principal, error)
	// Current returns the principal that the credential which p was authenticated
	// by has now; or a Refusal, if it would not be accepted any more. p may come
	// from the provider of that name in an older configuration. It is asked for
	// every open stream, so it must be quick.
	Current(p *Principal) (*Principal, error)
	// Check says what is wrong with the configuration, one problem a line. The
	// app asks, and not Caddy, so that all problems are named at once.
	Check() error
}

// AuthChooser is an AuthProvider whose credentials can be told from those of
// another provider of the same shape, at a price. Only a handler that names
// several of one method asks.
type AuthChooser interface {
	// Chooses reports whether the credential says that it is for this provider.
	Chooses(credential string) bool
}

// Refusal says why a credential was refused: for logs and metrics, not for the
// client.
type Refusal string

// Refusals that mean something to others than the provider.
const (
	RefusedExpired         Refusal = "expired"
	RefusedRevoked         Refusal = "revoked"
	RefusedMissing         Refusal = "missing"
	RefusedUnrecognized    Refusal = "unrecognized"
	RefusedLacksPermission Refusal = "lacks_permission"
)

// Error implements error. The text is for the log.
func (r Refusal) Error() string { return "credential refused: " + string(r) }

// providerName is the key of a provider's name in its context.
type providerName struct{}

// ProviderName is the name under which the provider that is provisioned with ctx
// is configured.
func ProviderName(ctx caddy.Context) string {
	name, _ := ctx.Value(providerName{}).(string)
	return name
}

// loadAuth loads the providers, and notes everything that is wrong with them.
func (a *App) loadAuth(ctx caddy.Context) {
	a.auth = &authSet{providers: make(map[string]AuthProvider)}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.AuthRaw)) {
		p, err := loadProvider(ctx, name, a.AuthRaw[name])
		if err == nil {
			a.auth.providers[name] = p
			err = p.Check()
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				errs = append(errs, fmt.Errorf("auth %s: %s", name, strings.TrimSpace(line)))
			}
		}
	}
	a.authProblems = errors.Join(errs...)
}

func loadProvider(ctx caddy.Context, name string, raw json.RawMessage) (AuthProvider, error) {
	if !ValidName(name) {
		return nil, errors.New("the name of a provider has 1 to 64 letters, digits, dots, dashes or underscores")
	}
	ctx.Context = context.WithValue(ctx.Context, providerName{}, name)
	guest := struct {
		Raw json.RawMessage `caddy:"namespace=osa.auth inline_key=provider"`
	}{raw}
	mod, err := ctx.LoadModule(&guest, "Raw")
	if err != nil {
		return nil, err
	}
	p, ok := mod.(AuthProvider)
	if !ok {
		return nil, fmt.Errorf("%T is not a provider", mod)
	}
	return p, nil
}

// AuthProvider is the provider of that name, or nil.
func (a *App) AuthProvider(name string) AuthProvider { return a.auth.providers[name] }

// AuthProviders are the names of all that are configured, in order.
func (a *App) AuthProviders() []string { return slices.Sorted(maps.Keys(a.AuthRaw)) }

// unmarshalAuth parses `auth { <provider> [<name>] { … } }`.
func (a *App) unmarshalAuth(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	a.AuthRaw = make(map[string]json.RawMessage)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		kind := d.Val()
		id := "osa.auth." + kind
		if _, err := caddy.GetModule(id); err != nil {
			return d.Errf("unknown provider %q of auth: want one of %s", kind, strings.Join(GuestModules("osa.auth"), ", "))
		}
		name := kind
		if d.NextArg() {
			name = d.Val()
		}
		if _, ok := a.AuthRaw[name]; ok {
			return d.Errf("%s was already given; a provider may have a name of its own: %s <name> { … }", name, kind)
		}
		mod, err := caddyfile.UnmarshalModule(d, id)
		if err != nil {
			return err
		}
		a.AuthRaw[name] = caddyconfig.JSONModuleObject(mod, "provider", kind, nil)
	}
	return nil
}
