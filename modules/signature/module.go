// Package signature is the directive osa_signature: it lets requests pass whose
// raw body is signed with a configured secret, and answers the others with 401.
package signature

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/signature"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler verifies signatures. What it learned is there for the handlers that
// follow: which secret matched, and whose workspace it belongs to.
type Handler struct {
	// SchemeRaw is the way in which senders sign: a module in the namespace
	// osa.signature, such as `osa`.
	SchemeRaw json.RawMessage `json:"scheme,omitempty" caddy:"namespace=osa.signature inline_key=name"`
	// Secrets are what senders may sign with: several, so that one can be
	// replaced while the other is still in use.
	Secrets []Secret `json:"secrets,omitempty"`
	// UnsignedMethods need no signature, such as GET for a receiver's health.
	UnsignedMethods []string `json:"unsigned_methods,omitempty"`

	ctx       caddy.Context
	log       *zap.Logger
	scheme    signature.Scheme
	secrets   []*signature.Secret
	senders   []sender // one for each of secrets
	unsigned  *osa.Verified
	challenge string
	problems  []error
}

// sender is what is known of a secret before any request, so that a request
// allocates nothing for it.
type sender struct {
	verified *osa.Verified
	count    prometheus.Counter
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_signature", New: func() caddy.Module { return new(Handler) }}
}

// Provision loads the scheme and expands the secrets.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx, h.log = ctx, ctx.Logger()
	if h.SchemeRaw == nil {
		return osa.AllProblems(ctx, errors.New("osa_signature: no scheme is named; osa is the gateway's own"))
	}
	mod, err := ctx.LoadModule(h, "SchemeRaw")
	if err != nil {
		return osa.AllProblems(ctx, fmt.Errorf("osa_signature: loading the scheme: %w", err))
	}
	scheme, ok := mod.(signature.Scheme)
	if !ok {
		return fmt.Errorf("osa_signature: %T is not a signature scheme", mod)
	}
	h.scheme = scheme
	h.unsigned = &osa.Verified{Scheme: scheme.Name()}
	h.challenge = `HMAC realm="osa", scheme="` + scheme.Name() + `"`

	opened, problems := openSecrets(h.Secrets)
	h.problems = problems
	for _, s := range opened {
		h.secrets = append(h.secrets, s.secret)
		h.senders = append(h.senders, sender{
			verified: &osa.Verified{Scheme: scheme.Name(), SecretID: s.secret.ID(), WorkspaceID: s.workspace},
			count:    verifiedTotal.WithLabelValues(scheme.Name(), s.secret.ID()),
		})
		if s.ended {
			h.log.Warn("a secret is past its not_after and verifies nothing any more", zap.String("secret_id", s.secret.ID()))
		}
	}
	return osa.RegisterCollectors(ctx, verifiedTotal, rejectedTotal)
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error {
	problems := h.problems
	for _, m := range h.UnsignedMethods {
		if !slices.Contains(methods, m) {
			problems = append(problems, fmt.Errorf("unsigned_methods: %q is not a method; write it in capitals, such as GET", m))
		}
	}
	if len(problems) > 0 {
		return osa.AllProblems(h.ctx, fmt.Errorf("osa_signature: %w", errors.Join(problems...)))
	}
	return nil
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if slices.Contains(h.UnsignedMethods, r.Method) {
		osa.SetVerified(r, h.unsigned)
		return next.ServeHTTP(w, r)
	}
	body, err := osa.Body(r)
	if err != nil {
		return err
	}
	// A timestamp is compared with when the request came in: what a large body
	// took on a slow line is not the signature's age.
	secret, err := h.scheme.Verify(r.Header, body, h.secrets, osa.ReceivedAt(r))
	if err != nil {
		return h.refuse(r, err)
	}
	sender := &h.senders[slices.Index(h.secrets, secret)]
	sender.count.Inc()
	osa.SetVerified(r, sender.verified)
	return next.ServeHTTP(w, r)
}

// refuse tells the client no more than that it failed.
func (h *Handler) refuse(r *http.Request, err error) error {
	reason, ok := errors.AsType[signature.Reason](err)
	if !ok {
		return osa.Internal(err).Handler()
	}
	rejectedTotal.WithLabelValues(h.scheme.Name(), string(reason)).Inc()
	if c := h.log.Check(zap.InfoLevel, "webhook signature refused"); c != nil {
		clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
		c.Write(zap.String("scheme", h.scheme.Name()), zap.String("reason", string(reason)),
			zap.String("path", r.URL.Path), zap.String("client_ip", clientIP), zap.String("request_id", osa.RequestID(r)))
	}
	return osa.Unauthenticated(h.challenge, "hmac").Because(err).Handler()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
