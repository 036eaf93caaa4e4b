package osa

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var errReleased = errors.New("the request body was released already")

// SetRequest is called by osa_guard, first in the chain.
func SetRequest(r *http.Request, requestID, correlationID string, receivedAt time.Time) {
	ctx := r.Context()
	caddyhttp.SetVar(ctx, varRequestID, requestID)
	if correlationID != "" {
		caddyhttp.SetVar(ctx, varCorrelationID, correlationID)
	}
	caddyhttp.SetVar(ctx, varReceivedAt, receivedAt)
}

// RequestID is the id that the response carries as X-Request-ID, or "" without
// osa_guard.
func RequestID(r *http.Request) string {
	s, _ := caddyhttp.GetVar(r.Context(), varRequestID).(string)
	return s
}

// CorrelationID is the request's well-formed X-Correlation-ID, or "".
func CorrelationID(r *http.Request) string {
	s, _ := caddyhttp.GetVar(r.Context(), varCorrelationID).(string)
	return s
}

// ReceivedAt is when the request came in, with its monotonic reading.
func ReceivedAt(r *http.Request) time.Time {
	if t, ok := caddyhttp.GetVar(r.Context(), varReceivedAt).(time.Time); ok {
		return t
	}
	return time.Now()
}

// SetBody keeps the body that was read for the handlers that follow.
func SetBody(r *http.Request, body []byte) {
	caddyhttp.SetVar(r.Context(), varBody, body)
}

// SetReleaseBody sets what ReleaseBody does.
func SetReleaseBody(r *http.Request, release func()) {
	caddyhttp.SetVar(r.Context(), varReleaseBody, release)
}

// released stands in the place of a body that is done with.
type released struct{}

// ReleaseBody says that nobody needs the request's body any more, or holds any of
// it: neither Body nor the request's own Body gives it again, and its room is
// free for other bodies before this request is answered. A handler that is sure
// of it, such as one that has written the body to disk, calls it before it waits
// for anything. It may be called more than once, by the request's goroutine.
func ReleaseBody(r *http.Request) {
	release, ok := caddyhttp.GetVar(r.Context(), varReleaseBody).(func())
	if !ok {
		return // a small one, which is let go of with the request
	}
	caddyhttp.SetVar(r.Context(), varBody, released{})
	release()
}

// Body is the whole raw body. osa_guard has read it once; without osa_guard it
// is read here, up to DefaultMaxBody. Errors are ready to be returned by a
// handler. The bytes must not be changed.
func Body(r *http.Request) ([]byte, error) {
	switch b := caddyhttp.GetVar(r.Context(), varBody).(type) {
	case []byte:
		return b, nil
	case released:
		return nil, Internal(errReleased).Handler()
	}
	b, err := ReadBody(r, DefaultMaxBody)
	if err != nil {
		return nil, err
	}
	SetBody(r, b)
	return b, nil
}
