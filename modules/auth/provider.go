package auth

import (
	"time"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Revocations knows the credentials that were taken back before they ended. It
// is asked at every request, and by open streams: it must be quick.
type Revocations interface {
	// Revoked reports whether the credential with that id, a key's id or a
	// token's jti, was taken back.
	Revoked(method, id string) bool
}

// Reason says why a credential was refused: for logs and metrics, not for the
// client.
type Reason = osa.Refusal

// The reasons.
const (
	Missing                = osa.RefusedMissing
	MultipleHeaders Reason = "multiple_headers"
	NotBearer       Reason = "not_bearer"
	Malformed       Reason = "malformed"
	Unrecognized           = osa.RefusedUnrecognized
	UnknownKey      Reason = "unknown_key"
	BadAlgorithm    Reason = "bad_algorithm"
	BadSignature    Reason = "bad_signature"
	BadIssuer       Reason = "bad_issuer"
	BadAudience     Reason = "bad_audience"
	BadClaims       Reason = "bad_claims"
	NotYetValid     Reason = "not_yet_valid"
	Expired                = osa.RefusedExpired
	Revoked                = osa.RefusedRevoked
)

// validity is how long a credential holds.
type validity struct {
	method, id  string
	ends        time.Time // zero is never
	revocations Revocations
}

func (v *validity) check() error {
	switch {
	case !v.ends.IsZero() && !time.Now().Before(v.ends):
		return Expired
	case v.revocations != nil && v.revocations.Revoked(v.method, v.id):
		return Revoked
	}
	return nil
}
