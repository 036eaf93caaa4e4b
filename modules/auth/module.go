// Package auth is the directive osa_auth: it finds out who sent a request, by
// the credential that its Authorization header bears, and whether they may.
package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler hosts providers. The first one, in the order written, that claims a
// credential by its shape decides on it (CONTRACT §2.5): unlike Caddy's own
// authentication, a credential that fails is never tried elsewhere.
type Handler struct {
	// ProvidersRaw are modules in the namespace osa.auth, such as `key` and
	// `jwt`.
	ProvidersRaw []json.RawMessage `json:"providers,omitempty" caddy:"namespace=osa.auth inline_key=provider"`
	// Require are permissions, all of which the caller must hold.
	Require []string `json:"require,omitempty"`

	ctx       caddy.Context
	log       *zap.Logger
	providers []Provider
	methods   []string
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_auth", New: func() caddy.Module { return new(Handler) }}
}

// Provision loads the providers.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx, h.log = ctx, ctx.Logger()
	mods, err := ctx.LoadModule(h, "ProvidersRaw")
	if err != nil {
		return osa.AllProblems(ctx, fmt.Errorf("osa_auth: loading a provider: %w", err))
	}
	for _, mod := range mods.([]any) {
		p, ok := mod.(Provider)
		if !ok {
			return fmt.Errorf("osa_auth: %T is not a provider", mod)
		}
		h.providers = append(h.providers, p)
		h.methods = append(h.methods, p.Method())
	}
	return osa.RegisterCollectors(ctx, rejectedTotal)
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error {
	var errs []error
	if len(h.providers) == 0 {
		errs = append(errs, errors.New("no provider is configured: nobody could get in"))
	}
	for _, p := range h.providers {
		errs = append(errs, p.Check())
	}
	for _, p := range h.Require {
		if !knownPermission(p) || strings.HasSuffix(p, "*") && p != osa.PermAllWorkspaces {
			errs = append(errs, fmt.Errorf("require: unknown permission %q; there are %s", p, strings.Join(osa.Permissions, ", ")))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return osa.AllProblems(h.ctx, fmt.Errorf("osa_auth: %w", err))
	}
	return nil
}

// RFC 6750 §3.1: who showed no credential at all is not told of an error.
const (
	challenge        = `Bearer realm="osa"`
	challengeInvalid = challenge + `, error="invalid_token"`
	challengeScope   = challenge + `, error="insufficient_scope", scope="`
)

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	credential, err := bearer(r.Header)
	if err != nil {
		return h.refuse(r, "", err)
	}
	for _, p := range h.providers {
		if !p.Claims(credential) {
			continue
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
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			repl.Set("http.auth.user.id", principal.ID) // for the access log
		}
		return osa.ServeWithBody(w, r, next)
	}
	return h.refuse(r, "", Unrecognized)
}

// refuse tells the client no more than that it failed.
func (h *Handler) refuse(r *http.Request, method string, err error) error {
	reason, ok := errors.AsType[Reason](err)
	if !ok {
		return osa.Internal(err).Handler()
	}
	h.note(r, method, reason, "")
	if reason == Missing || reason == NotBearer {
		return osa.Unauthenticated(challenge, h.methods...).Because(err).Handler()
	}
	return osa.Unauthenticated(challengeInvalid, h.methods...).Because(err).Handler()
}

// deny answers a known caller who lacks a permission.
func (h *Handler) deny(r *http.Request, p *osa.Principal) error {
	h.note(r, p.Method, LacksPermission, p.ID)
	current := p.Permissions
	if current == nil {
		current = []string{}
	}
	problem := osa.AccessDenied(h.Require, current).Because(LacksPermission)
	problem.Header = http.Header{"Www-Authenticate": {challengeScope + strings.Join(h.Require, " ") + `"`}}
	return problem.Handler()
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
