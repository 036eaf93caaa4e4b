// Package auth has the directives osa_auth and osa_require: the first finds out who
// sent a request, by the credential in its Authorization header, and the second
// whether they hold a permission.
package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler checks credentials with providers of the app osa. The first provider, in
// the order named, that recognises the shape of a credential decides on it
// (docs/api.md §2.5). Unlike Caddy's own authentication, a credential that one
// provider refuses is not offered to another.
type Handler struct {
	// Providers are the names of providers in the app's `auth`.
	Providers []string `json:"providers,omitempty"`
	// Anonymous lets requests in that show no credential. Without it they are
	// refused, unless an osa_auth before this one has let them in.
	Anonymous *Anonymous `json:"anonymous,omitempty"`

	ctx       caddy.Context
	app       *osa.App
	providers []osa.AuthProvider
	// choosers are the providers, where several of one method are named.
	choosers []osa.AuthChooser
	methods  []string
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_auth", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the providers.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.ctx = ctx
	if h.app, err = osa.Of(ctx); err != nil {
		return err
	}
	if h.Anonymous != nil {
		h.Anonymous.provision()
	}
	several := false
	for _, name := range h.Providers {
		p := h.app.AuthProvider(name)
		if p == nil {
			continue // Validate says so
		}
		chooser, _ := p.(osa.AuthChooser)
		h.providers, h.choosers = append(h.providers, p), append(h.choosers, chooser)
		if slices.Contains(h.methods, p.Method()) {
			several = true
		} else {
			h.methods = append(h.methods, p.Method())
		}
	}
	if !several {
		h.choosers = nil
	}
	return nil
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error {
	var errs []error
	known := h.app.AuthProviders()
	there := "the app has " + strings.Join(known, ", ")
	if len(known) == 0 {
		there = "the app has none: configure some in the global option, `osa { auth { … } }`"
	}
	if len(h.Providers) == 0 && h.Anonymous == nil {
		errs = append(errs, fmt.Errorf("no provider is named, so that nobody could get in; %s", there))
	}
	for i, name := range h.Providers {
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("there is no provider %q; %s", name, there))
		}
		if slices.Contains(h.Providers[:i], name) {
			errs = append(errs, fmt.Errorf("the provider %q is named twice", name))
		}
	}
	if h.Anonymous != nil {
		errs = append(errs, h.Anonymous.validate())
	}
	if err := errors.Join(errs...); err != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_auth: %w", err))
	}
	return nil
}

// ServeHTTP calls the next handler if the request carries a valid credential, or
// none where that is let in. It answers 401 otherwise.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	credential, err := bearer(r.Header)
	switch {
	case errors.Is(err, Missing) && h.Anonymous != nil:
		osa.SetPrincipal(r, osa.NewAnonymous(r, h.Anonymous.workspace, h.Anonymous.Permissions))
		return next.ServeHTTP(w, r)
	case errors.Is(err, Missing) && osa.PrincipalOf(r) != nil:
		return next.ServeHTTP(w, r) // let in by an osa_auth before this one
	case !errors.Is(err, Missing) && len(h.providers) == 0:
		return next.ServeHTTP(w, r) // a credential is for an osa_auth after this one
	case err != nil:
		return h.refuse(r, "", err)
	}
	p := h.providerOf(credential)
	if p == nil {
		return h.refuse(r, "", Unrecognized)
	}
	principal, err := p.Authenticate(credential)
	if err != nil {
		return h.refuse(r, p.Method(), err)
	}
	osa.SetPrincipal(r, principal)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.auth.user.id", principal.ID) // for the access log
	}
	return requestbody.Serve(w, r, next)
}

// providerOf is who decides on the credential, or nil. Of several that claim it,
// the first does, unless it can be told which of them it is for.
func (h *Handler) providerOf(credential string) (first osa.AuthProvider) {
	for i, p := range h.providers {
		if !p.Claims(credential) {
			continue
		}
		if h.choosers == nil {
			return p
		}
		if first == nil {
			first = p
		}
		if p.Method() != first.Method() {
			continue
		}
		if c := h.choosers[i]; c == nil || c.Chooses(credential) {
			return p
		}
	}
	return first
}

// refuse tells the client no more than that it failed, and where credentials
// belong.
func (h *Handler) refuse(r *http.Request, method string, err error) error {
	reason, ok := errors.AsType[Reason](err)
	if !ok {
		return httperror.Internal(err).HandlerError()
	}
	osa.NoteRefusal(r, method, reason, "")
	problem := httperror.Unauthenticated(osa.ChallengeInvalid, h.methods...)
	if reason == Missing || reason == NotBearer {
		problem = httperror.Unauthenticated(osa.Challenge, h.methods...)
	}
	if reason == Missing && inQuery(r.URL.RawQuery) {
		problem.Message = "Credentials are not taken from the query; send them in the header Authorization, as Bearer"
	}
	return problem.WithCause(err).HandlerError()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
