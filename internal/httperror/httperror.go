// Package httperror holds the errors that clients of the gateway see: an HTTP
// status, a code, a message and the members that go with them (docs/api.md §3). Handlers
// return them; the directive osa_error writes them.
package httperror

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/query"
)

// The error codes that clients see (docs/api.md §3).
const (
	CodeValidationFailed = "validation_failed"
	CodeUnauthenticated  = "authentication_failed"
	CodeAccessDenied     = "access_denied"
	CodeNotFound         = "resource_not_found"
	CodeMethodNotAllowed = "method_not_allowed"
	CodeRequestTimeout   = "request_timeout"
	CodeConflict         = "conflict"
	CodePrecondition     = "precondition_failed"
	CodePayloadTooLarge  = "payload_too_large"
	CodeMisdirected      = "misdirected_request"
	CodeUnsupportedMedia = "unsupported_media_type"
	CodeRateLimited      = "rate_limit_exceeded"
	CodeInternal         = "internal_server_error"
	CodeUpstream         = "upstream_service_error"
	CodeUnavailable      = "service_unavailable"
	CodeTimeout          = "operation_timeout"
)

// Error is an error as a client sees it. A handler returns HandlerError.
type Error struct {
	// Status is the HTTP status code.
	Status int
	// Code is the body's `error`.
	Code string
	// Message is the body's `message`; it never contains a secret.
	Message string
	// Members are further members of the body, such as `details`.
	Members map[string]any
	// Header is added to the response, such as Retry-After.
	Header http.Header
	// Err is the cause. It is logged and not sent to the client.
	Err error
}

// Error implements error. The text is for the log.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// HandlerError wraps e in the type of error that Caddy takes the status from.
func (e *Error) HandlerError() error {
	return caddyhttp.HandlerError{Err: e, StatusCode: e.Status}
}

// WithCause sets the cause, which is logged and not sent to the client.
func (e *Error) WithCause(err error) *Error {
	e.Err = err
	return e
}

// Invalid is a field or parameter of a request that is invalid, and why.
type Invalid = query.Invalid

// ValidationFailed is a 400 that lists the invalid fields.
func ValidationFailed(details ...Invalid) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: CodeValidationFailed, Message: "Request validation failed",
		Members: map[string]any{"details": details},
	}
}

// Unauthenticated is a 401. challenge is the value of WWW-Authenticate. methods are
// the authentication methods of the route, such as "api_key", "jwt" and "hmac".
func Unauthenticated(challenge string, methods ...string) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: CodeUnauthenticated,
		Message: "Invalid or missing authentication credentials",
		Members: map[string]any{"auth_methods": methods},
		Header:  http.Header{"Www-Authenticate": {challenge}},
	}
}

// AccessDenied is a 403. It tells the client the permissions that are required and
// those that it has.
func AccessDenied(required, current []string) *Error {
	return &Error{
		Status: http.StatusForbidden, Code: CodeAccessDenied, Message: "Insufficient permissions for this operation",
		Members: map[string]any{"required_permissions": required, "current_permissions": current},
	}
}

// MethodNotAllowed is a 405. methods are those that the resource has.
func MethodNotAllowed(message string, methods ...string) *Error {
	return &Error{
		Status: http.StatusMethodNotAllowed, Code: CodeMethodNotAllowed, Message: message,
		Header: http.Header{"Allow": {strings.Join(methods, ", ")}},
	}
}

// NotFound is a 404 for a resource of the type and id.
func NotFound(resourceType, id string) *Error {
	return &Error{
		Status: http.StatusNotFound, Code: CodeNotFound, Message: "The requested resource was not found",
		Members: map[string]any{"resource_type": resourceType, "resource_id": id},
	}
}

// Unavailable is a 503 with a Retry-After header.
func Unavailable(message string, retryAfter time.Duration) *Error {
	seconds := max(1, int(math.Ceil(retryAfter.Seconds())))
	return &Error{
		Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Message: message,
		Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}},
	}
}

// Internal is a 500. The cause err is logged and not sent to the client.
func Internal(err error) *Error {
	return &Error{
		Status: http.StatusInternalServerError, Code: CodeInternal, Message: "An unexpected error occurred", Err: err,
	}
}
