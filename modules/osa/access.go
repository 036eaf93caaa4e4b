package osa

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/network"
)

// The labels are names of ours, never anything that a client sends.
var accessRefused = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "osa", Subsystem: "auth", Name: "rejected_total",
	Help: "Requests that were refused for their credential, by its kind and the reason.",
}, []string{"method", "reason"})

// Challenges of a 401 and a 403 (RFC 6750 §3). A request that had no credential is
// told of no error.
const (
	Challenge        = `Bearer realm="osa"`
	ChallengeInvalid = Challenge + `, error="invalid_token"`
	challengeScope   = Challenge + `, error="insufficient_scope", scope="`
)

// Require returns who calls, if they hold all of the permissions. Every handler of
// this gateway asks for the permissions of its method by it, wherever it stands:
// without an osa_auth that has said who calls the answer is 401, and without one of
// the permissions it is 403. Errors are ready to be returned by a handler.
//
// What was asked for is kept for RequiredOf.
func Require(r *http.Request, permissions ...string) (*Principal, error) {
	p := PrincipalOf(r)
	if p == nil {
		reason := RefusedMissing
		if len(r.Header["Authorization"]) > 0 {
			reason = RefusedUnrecognized
		}
		NoteRefusal(r, "", reason, "")
		return nil, httperror.Unauthenticated(Challenge, "api_key", "jwt").
			WithCause(errors.New("nobody has said who calls: osa_auth must come before this handler")).HandlerError()
	}
	if slices.ContainsFunc(permissions, func(permission string) bool { return !p.Has(permission) }) {
		NoteRefusal(r, p.Method, RefusedLacksPermission, p.ID)
		current := p.Permissions
		if current == nil {
			current = []string{}
		}
		denied := httperror.AccessDenied(permissions, current).WithCause(RefusedLacksPermission)
		denied.Header = http.Header{"Www-Authenticate": {challengeScope + strings.Join(permissions, " ") + `"`}}
		return nil, denied.HandlerError()
	}
	addRequired(r, permissions)
	return p, nil
}

// RequireWorkspace is Require for handlers that read. workspace is the one that the
// caller may see, or "" for all of them.
func RequireWorkspace(r *http.Request, permissions ...string) (p *Principal, workspace string, err error) {
	if p, err = Require(r, permissions...); err != nil {
		return nil, "", err
	}
	if workspace = p.Workspace(); workspace == "" && !p.Has(PermAllWorkspaces) {
		// Without a workspace a filter would select all of them.
		return nil, "", httperror.AccessDenied([]string{PermAllWorkspaces}, p.Permissions).HandlerError()
	}
	return p, workspace, nil
}

// NoteRefusal counts and logs that a request was refused for its credential. method
// is the kind of the credential, or "" where none was recognised, and id the
// principal's, as far as it is known.
func NoteRefusal(r *http.Request, method string, reason Refusal, id string) {
	if method == "" {
		method = "none"
	}
	accessRefused.WithLabelValues(method, string(reason)).Inc()
	if c := caddy.Log().Named("osa.auth").Check(zap.InfoLevel, "access refused"); c != nil {
		c.Write(zap.String("method", method), zap.String("reason", string(reason)), zap.String("principal", id),
			zap.String("path", r.URL.Path), zap.String("client_ip", ClientIP(r)), zap.String("request_id", RequestID(r)))
	}
}

// MethodAnonymous is the Method of principals that showed no credential.
const MethodAnonymous = "anonymous"

// NewAnonymous returns the principal of a request that shows no credential and that
// the configuration lets in. Its ID is the client's address (IPv6: its /64), so that
// limits of a principal hold for an address.
func NewAnonymous(r *http.Request, workspace string, permissions []string) *Principal {
	return &Principal{ID: network.ClientName(ClientIP(r)), Method: MethodAnonymous, WorkspaceID: workspace, Permissions: permissions}
}

// Anonymous reports whether the principal showed no credential.
func (p *Principal) Anonymous() bool { return p.Method == MethodAnonymous }

// ClientIP returns the client's address, as Caddy determines it: trusted proxies count.
func ClientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}
