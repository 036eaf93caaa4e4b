// Package signature is the directive osa_signature: it lets requests pass whose
// raw body is signed with a configured secret, and answers the others with 401.
package signature

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
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

	ctx       caddy.Context
	log       *zap.Logger
	scheme    signature.Scheme
	current   atomic.Pointer[senders]
	challenge string
	problems  error
	find      sync.Once
	receiver  osa.Receiver // that stands behind, if one does
}

// senders are the secrets in force and what is known of each. They do not change.
type senders struct {
	secrets []*signature.Secret
	all     []sender // one for each of secrets
}

// sender is what is known of a secret before any request, so that a request
// allocates nothing for it.
type sender struct {
	verified *osa.Verified
	count    prometheus.Counter
	sum      [sha256.Size]byte // of the secret, to tell whether it has changed
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_signature", New: func() caddy.Module { return new(Handler) }}
}

// Provision loads the scheme and expands the secrets.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx, h.log = ctx, ctx.Logger()
	osa.UseServer(ctx)
	if h.SchemeRaw == nil {
		return osa.ConfigErrors(ctx, errors.New("osa_signature: no scheme is named; osa is the gateway's own"))
	}
	mod, err := ctx.LoadModule(h, "SchemeRaw")
	if err != nil {
		return osa.ConfigErrors(ctx, fmt.Errorf("osa_signature: loading the scheme: %w", err))
	}
	scheme, ok := mod.(signature.Scheme)
	if !ok {
		return fmt.Errorf("osa_signature: %T is not a signature scheme", mod)
	}
	h.scheme = scheme
	h.challenge = `HMAC realm="osa", scheme="` + scheme.Name() + `"`

	h.problems = credentials.Load(ctx, credentials.Source{
		Kind: "signature", Name: scheme.Name(), Files: filesOf(h.Secrets), Load: h.load, Log: h.log,
	})
	return osa.RegisterCollectors(ctx, verifiedTotal, rejectedTotal, credentials.Collector())
}

// load puts the secrets in force that the configuration and its files name now.
func (h *Handler) load() error {
	opened, problems := openSecrets(h.Secrets)
	if err := errors.Join(problems...); err != nil {
		return err
	}
	old, now := h.current.Load(), new(senders)
	for _, s := range opened {
		now.secrets = append(now.secrets, s.secret)
		now.all = append(now.all, sender{
			verified: &osa.Verified{Scheme: h.scheme.Name(), SecretID: s.secret.ID(), WorkspaceID: s.workspace},
			count:    verifiedTotal.WithLabelValues(h.scheme.Name(), s.secret.ID()),
			sum:      s.sum,
		})
		if s.ended && old == nil {
			h.log.Warn("a secret is past its not_after and verifies nothing any more", zap.String("secret_id", s.secret.ID()))
		}
	}
	h.current.Store(now)
	if old == nil {
		return nil
	}
	var changed []string
	for i, s := range now.all { // they are the same ones, in the same order
		if s.sum != old.all[i].sum || s.verified.WorkspaceID != old.all[i].verified.WorkspaceID {
			changed = append(changed, s.verified.SecretID)
		}
	}
	if len(changed) > 0 {
		h.log.Info("secrets have changed", zap.Strings("secret_ids", changed))
	}
	return nil
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error {
	if h.problems != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_signature: %w", h.problems))
	}
	return nil
}

// SchemeName is the name of the scheme.
func (h *Handler) SchemeName() string { return h.scheme.Name() }

// ServeHTTP calls the next handler if the signature of the body is valid. It
// answers 401 otherwise.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// What can be told without the body is told before it takes any room.
	if c, ok := h.scheme.(signature.HeaderChecker); ok {
		if err := c.CheckHeader(r.Header, osa.ReceivedAt(r)); err != nil {
			return h.refuse(r, err)
		}
	}
	h.find.Do(func() { h.receiver = osa.ReceiverBehind(h.ctx, h) })
	if h.receiver != nil {
		if err := h.receiver.Writable(); err != nil {
			return err
		}
	}
	body, finish, err := requestbody.ReadBefore(w, r)
	defer finish()
	if err != nil {
		return err
	}
	// A timestamp is compared with when the request came in: what a large body
	// took on a slow line is not the signature's age.
	current := h.current.Load()
	secret, err := h.scheme.Verify(r.Header, body, current.secrets, osa.ReceivedAt(r))
	if err != nil {
		return h.refuse(r, err)
	}
	sender := &current.all[slices.Index(current.secrets, secret)]
	sender.count.Inc()
	osa.SetVerified(r, sender.verified)
	return next.ServeHTTP(w, r)
}

// refuse tells the client no more than that it failed.
func (h *Handler) refuse(r *http.Request, err error) error {
	reason, ok := errors.AsType[signature.Reason](err)
	if !ok {
		return httperror.Internal(err).HandlerError()
	}
	rejectedTotal.WithLabelValues(h.scheme.Name(), string(reason)).Inc()
	if c := h.log.Check(zap.InfoLevel, "webhook signature refused"); c != nil {
		clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
		c.Write(zap.String("scheme", h.scheme.Name()), zap.String("reason", string(reason)),
			zap.String("path", r.URL.Path), zap.String("client_ip", clientIP), zap.String("request_id", osa.RequestID(r)))
	}
	return httperror.Unauthenticated(h.challenge, "hmac").WithCause(err).HandlerError()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ osa.Verifier                = (*Handler)(nil)
)
