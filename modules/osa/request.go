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

// InnermostWriter is the writer below whatever wraps it: net/http's own.
func InnermostWriter(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}
