// Package signature signs requests and verifies their signatures. It knows
// signature schemes, one file each, and secrets. It knows nothing of Caddy or
// of the source of a webhook, and does no I/O.
package signature

import (
	"net/http"
	"time"
)

// Scheme is a way to sign a request's raw body. Schemes are safe for concurrent
// use.
type Scheme interface {
	// Name returns the scheme's name in the configuration, logs and metrics.
	Name() string
	// Verify returns the secret that the body was signed with. If there is none,
	// the error is a Reason. Secrets that are not active at `now` are ignored.
	Verify(h http.Header, body []byte, secrets []*Secret, now time.Time) (*Secret, error)
	// Sign sets the headers that Verify reads.
	Sign(h http.Header, body []byte, secret *Secret, now time.Time)
}

// HeaderChecker is a Scheme that can refuse a request before its body is read.
type HeaderChecker interface {
	// CheckHeader returns the Reason for which Verify would refuse these headers
	// with any body, or nil.
	CheckHeader(h http.Header, now time.Time) error
}

// Reason is why a signature was refused. It is for logs and metrics. Clients do
// not get it, because it would help an attacker.
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
