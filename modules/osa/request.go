package osa

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

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

// Body is the whole raw body. osa_guard has read it once; without osa_guard it
// is read here, up to DefaultMaxBody. Errors are ready to be returned by a
// handler. The bytes must not be changed.
func Body(r *http.Request) ([]byte, error) {
	if b, ok := caddyhttp.GetVar(r.Context(), varBody).([]byte); ok {
		return b, nil
	}
	b, err := ReadBody(r, DefaultMaxBody)
	if err != nil {
		return nil, err
	}
	SetBody(r, b)
	return b, nil
}
