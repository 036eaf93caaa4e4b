// Package auth is the directive osa_auth: it finds out who sent a request, by
// the credential that its Authorization header bears, and whether they may.
package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler checks credentials with providers of the app osa. The first provider, in
// the order named, that recognises the shape of a credential decides on it
// (docs/api.md §2.5). Unlike Caddy's own authentication, a credential that one
// provider refuses is not offered to another.
type Handler struct {
	// Providers are the names of providers in the app's `auth`.
	Providers []string `json:"providers,omitempty"`
	// Require are permissions, all of which the caller must hold.
	Require []string `json:"require,omitempty"`

	ctx       caddy.Context
	log       *zap.Logger
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
	h.ctx, h.log = ctx, ctx.Logger()
	if h.app, err = osa.Of(ctx); err != nil {
		return err
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
	return osa.RegisterCollectors(ctx, rejectedTotal)
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error {
	var errs []error
	known := h.app.AuthProviders()
	there := "the app has " + strings.Join(known, ", ")
	if len(known) == 0 {
		there = "the app has none: configure some in the global option, `osa { auth { … } }`"
	}
	if len(h.Providers) == 0 {
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
	for _, p := range h.Require {
		if !knownPermission(p) || strings.HasSuffix(p, "*") && p != osa.PermAllWorkspaces {
			errs = append(errs, fmt.Errorf("require: unknown permission %q; there are %s", p, strings.Join(osa.Permissions, ", ")))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_auth: %w", err))
	}
	return nil
}

// RFC 6750 §3.1: who showed no credential at all is not told of an error.
const (
	challenge        = `Bearer realm="osa"`
	challengeInvalid = challenge + `, error="invalid_token"`
	challengeScope   = challenge + `, error="insufficient_scope", scope="`
)

// ServeHTTP calls the next handler if the request carries a valid credential with
// the required permissions. It answers 401 or 403 otherwise.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	credential, err := bearer(r.Header)
	if err != nil {
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
	for _, permission := range h.Require {
		if !principal.Has(permission) {
			return h.deny(r, principal)
		}
	}
	osa.SetPrincipal(r, principal)
	osa.SetRequired(r, &h.Require)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.auth.user.id", principal.ID) // for the access log
	}
	return osa.ServeWithBody(w, r, next)
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
	h.note(r, method, reason, "")
	problem := httperror.Unauthenticated(challengeInvalid, h.methods...)
	if reason == Missing || reason == NotBearer {
		problem = httperror.Unauthenticated(challenge, h.methods...)
	}
	if reason == Missing && inQuery(r.URL.RawQuery) {
		problem.Message = "Credentials are not taken from the query; send them in the header Authorization, as Bearer"
	}
	return problem.WithCause(err).HandlerError()
}

// deny answers a known caller who lacks a permission.
func (h *Handler) deny(r *http.Request, p *osa.Principal) error {
	h.note(r, p.Method, LacksPermission, p.ID)
	current := p.Permissions
	if current == nil {
		current = []string{}
	}
	problem := httperror.AccessDenied(h.Require, current).WithCause(LacksPermission)
	problem.Header = http.Header{"Www-Authenticate": {challengeScope + strings.Join(h.Require, " ") + `"`}}
	return problem.HandlerError()
}

func (h *Handler) note(r *http.Request, method string, reason Reason, id string) {
	if method == "" {
		method = "none"
	}
	rejectedTotal.WithLabelValues(method, string(reason)).Inc()
	if c := h.log.Check(zap.InfoLevel, "access refused"); c != nil {
		clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
		c.Write(zap.String("method", method), zap.String("reason", string(reason)), zap.String("principal", id),
			zap.String("path", r.URL.Path), zap.String("client_ip", clientIP), zap.String("request_id", osa.RequestID(r)))
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
