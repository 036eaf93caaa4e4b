package osa

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/query"
	"github.com/osa-edge/osa-gateway/storage"
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

// Problem is an error as a client sees it. Handlers return problem.Handler();
// osa_error writes the body.
type Problem struct {
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
	// Err is the reason, for the log only.
	Err error
}

// Error returns the text for the log, with the reason.
func (p *Problem) Error() string {
	if p.Err != nil {
		return p.Code + ": " + p.Err.Error()
	}
	return p.Code + ": " + p.Message
}

// Unwrap returns the reason.
func (p *Problem) Unwrap() error { return p.Err }

// Handler wraps the problem as the error that a Caddy handler returns.
func (p *Problem) Handler() error {
	return caddyhttp.HandlerError{Err: p, StatusCode: p.Status}
}

// Because sets the reason for the log.
func (p *Problem) Because(err error) *Problem {
	p.Err = err
	return p
}

// Invalid describes one thing that is wrong with a request.
type Invalid = query.Invalid

// ValidationFailed is a 400 that lists what is wrong.
func ValidationFailed(details ...Invalid) *Problem {
	return &Problem{
		Status: http.StatusBadRequest, Code: CodeValidationFailed, Message: "Request validation failed",
		Members: map[string]any{"details": details},
	}
}

// Unauthenticated is a 401. methods are the ways in that the route accepts
// ("api_key", "jwt", "hmac"); challenge is the WWW-Authenticate value.
func Unauthenticated(challenge string, methods ...string) *Problem {
	return &Problem{
		Status: http.StatusUnauthorized, Code: CodeUnauthenticated,
		Message: "Invalid or missing authentication credentials",
		Members: map[string]any{"auth_methods": methods},
		Header:  http.Header{"Www-Authenticate": {challenge}},
	}
}

// AccessDenied is a 403.
func AccessDenied(required, current []string) *Problem {
	return &Problem{
		Status: http.StatusForbidden, Code: CodeAccessDenied, Message: "Insufficient permissions for this operation",
		Members: map[string]any{"required_permissions": required, "current_permissions": current},
	}
}

// NotFound is a 404 for a resource of that type and id.
func NotFound(resourceType, id string) *Problem {
	return &Problem{
		Status: http.StatusNotFound, Code: CodeNotFound, Message: "The requested resource was not found",
		Members: map[string]any{"resource_type": resourceType, "resource_id": id},
	}
}

// Unavailable is a 503 that says when to come back.
func Unavailable(message string, retryAfter time.Duration) *Problem {
	seconds := max(1, int(math.Ceil(retryAfter.Seconds())))
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Message: message,
		Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}},
	}
}

// Internal is a 500 whose reason goes to the log only.
func Internal(err error) *Problem {
	return &Problem{
		Status: http.StatusInternalServerError, Code: CodeInternal, Message: "An unexpected error occurred", Err: err,
	}
}

// LogProblem is what a client sees of an error of the event log or its store:
// nearly always a 503, because the request can be sent again.
func LogProblem(err error) *Problem {
	var rebuild *storage.RebuildError
	switch {
	case errors.As(err, &rebuild):
		p := Unavailable("What was asked for is being made anew from the event log", 5*time.Second).Because(err)
		p.Members = map[string]any{"details": rebuildDetails(rebuild)}
		return p
	case errors.Is(err, storage.ErrRebuilding):
		return Unavailable("What was asked for is being made anew from the event log", 5*time.Second).Because(err)
	case errors.Is(err, storage.ErrBusy):
		return Unavailable("The event log is catching up", 2*time.Second).Because(err)
	case errors.Is(err, storage.ErrNotFound):
		return NotFound("resource", "").Because(err)
	case errors.Is(err, storage.ErrConflict):
		return &Problem{Status: http.StatusConflict, Code: CodeConflict, Message: "The resource was changed meanwhile", Err: err}
	case errors.Is(err, eventlog.ErrOverloaded):
		return Unavailable("The event log is overloaded", time.Second).Because(err)
	case errors.Is(err, storage.ErrNoSpace):
		return Unavailable("The event log has no free disk space left", 30*time.Second).Because(err)
	case errors.Is(err, eventlog.ErrOutcomeUnknown):
		return Unavailable("The event could not be confirmed; send it again", time.Second).Because(err)
	case errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrClosed), errors.Is(err, storage.ErrClosed):
		return Unavailable("The event log is not available", 2*time.Second).Because(err)
	}
	return Internal(err)
}
