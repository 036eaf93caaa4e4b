// Package signature signs requests and verifies their signatures. Each Scheme has its own
// file and defines what is signed: which headers carry the signature, and what stands
// before the body in the signed message. The package does no I/O and does not depend on
// Caddy.
package signature

import (
	"net/http"
	"time"
)

// Scheme is one way of signing a request's raw body. Schemes are safe for
// concurrent use.
type Scheme interface {
	// Name is what configuration, logs and metrics call the scheme.
	Name() string
	// Verify returns the secret that the body was signed with. The error is a Reason.
	// Secrets that are not active at `now` are left out.
	Verify(h http.Header, body []byte, secrets []*Secret, now time.Time) (*Secret, error)
	// Sign sets the headers that Verify looks for.
	Sign(h http.Header, body []byte, secret *Secret, now time.Time)
}

// HeaderChecker is a Scheme that can refuse a request before its body is read.
type HeaderChecker interface {
	// CheckHeader is the Reason for which Verify would refuse these headers with any
	// body, or nil.
	CheckHeader(h http.Header, now time.Time) error
}

// Reason says why a signature was refused. It is for logs and metrics. Clients are not
// told, because it would help them to guess.
type Reason string

// The reasons.
const (
	Missing             Reason = "missing"
	MultipleHeaders     Reason = "multiple_headers"
	Malformed           Reason = "malformed"
	TooManySignatures   Reason = "too_many_signatures"
	UnsupportedVersion  Reason = "unsupported_version"
	TimestampOutOfRange Reason = "timestamp_out_of_tolerance"
	TimestampMismatch   Reason = "timestamp_mismatch"
	NoActiveSecret      Reason = "no_active_secret"
	NoMatchingSignature Reason = "no_matching_signature"
)

// Error implements error. The text is for the log.
func (r Reason) Error() string { return "signature refused: " + string(r) }
