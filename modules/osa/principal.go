package osa

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The permissions (docs/api.md §2.14).
const (
	PermEventsRead    = "events:read"
	PermEventsReplay  = "events:replay"
	PermOPALRead      = "opal:read"
	PermOPALTrigger   = "opal:trigger"
	PermServicesRead  = "services:read"
	PermServicesWrite = "services:write"
	PermAdmin         = "admin"
	PermAllWorkspaces = "workspace:*"
)

// Permissions lists all of them.
var Permissions = []string{
	PermEventsRead, PermEventsReplay, PermOPALRead, PermOPALTrigger,
	PermServicesRead, PermServicesWrite, PermAdmin, PermAllWorkspaces,
}

// Principal is who a request was authenticated as.
type Principal struct {
	// ID names the principal without revealing the credential: a key's id, a
	// token's subject. Limits and the audit log go by Method and ID.
	ID string
	// Method is how: "api_key", "jwt", "anonymous".
	Method string
	// WorkspaceID is the workspace that it belongs to.
	WorkspaceID string
	Permissions []string
	// ExpiresAt is when the credential ends, as was known when it was looked at;
	// zero is never. See StatusOf.
	ExpiresAt time.Time

	// Provider is the name of the provider that made the principal; "" if none did.
	Provider string
	// CredentialID names the credential: a key's id, a token's jti.
	CredentialID string
	// Credential is what the provider recognises the credential by. It must not
	// show a secret, or a hash of one, when it is printed.
	Credential any
}

// Has reports whether the principal holds the permission. A trailing * covers
// what follows: "events:*" and "*" both hold events:read.
func (p *Principal) Has(permission string) bool {
	return slices.ContainsFunc(p.Permissions, func(held string) bool {
		if prefix, ok := strings.CutSuffix(held, "*"); ok && strings.HasPrefix(permission, prefix) {
			return true
		}
		return held == permission
	})
}

// Workspace is the workspace that the principal's reads are confined to, or ""
// where it may see all of them.
func (p *Principal) Workspace() string {
	if p.Has(PermAllWorkspaces) {
		return ""
	}
	return p.WorkspaceID
}

// Verified is what a checked webhook signature says of its sender.
type Verified struct {
	// Scheme is the name of the signature scheme.
	Scheme string
	// SecretID is the id of the secret that matched.
	SecretID string
	// WorkspaceID is the workspace that the secret belongs to.
	WorkspaceID string
}

// VarBody is the request variable of package requestbody.
const VarBody = "osa.body"

// Names of the request variables that handlers pass to each other. As Caddy
// variables they can be used in a Caddyfile too: {http.vars.osa.request_id}.
const (
	varRequestID     = "osa.request_id"
	varCorrelationID = "osa.correlation_id"
	varPrincipal     = "osa.principal"
	varRequired      = "osa.required_permissions"
	varVerified      = "osa.verified"
	varReceivedAt    = "osa.received_at"
)

// SetPrincipal is called by osa_auth.
func SetPrincipal(r *http.Request, p *Principal) {
	caddyhttp.SetVar(r.Context(), varPrincipal, p)
}

// PrincipalOf returns who the request was authenticated as, or nil.
func PrincipalOf(r *http.Request) *Principal {
	p, _ := caddyhttp.GetVar(r.Context(), varPrincipal).(*Principal)
	return p
}

// RequiredOf returns the permissions that Require has asked for so far. What goes on
// after the request is answered needs them further on; see StatusOf.
func RequiredOf(r *http.Request) []string {
	p, _ := caddyhttp.GetVar(r.Context(), varRequired).([]string)
	return p
}

func addRequired(r *http.Request, permissions []string) {
	if before := RequiredOf(r); len(before) > 0 {
		permissions = append(slices.Clip(before), permissions...)
	}
	caddyhttp.SetVar(r.Context(), varRequired, permissions)
}

// SetVerified is called by osa_signature.
func SetVerified(r *http.Request, v *Verified) {
	caddyhttp.SetVar(r.Context(), varVerified, v)
}

// VerifiedOf returns what the signature said, or nil if none was verified.
func VerifiedOf(r *http.Request) *Verified {
	v, _ := caddyhttp.GetVar(r.Context(), varVerified).(*Verified)
	return v
}
