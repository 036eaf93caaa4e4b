package osa

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// DefaultMaxBody is the largest body that is read where nothing else is said.
const DefaultMaxBody = 10 << 20

// ErrNoBody is returned by Body when no osa_guard read it and it could not be
// read here.
var ErrNoBody = errors.New("request body could not be read")

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

// ReadBody reads the request's body up to limit bytes; more is a 413 whatever
// Content-Length said, and never a truncated body.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	tooLarge := func() error {
		p := &Problem{
			Status: http.StatusRequestEntityTooLarge, Code: CodePayloadTooLarge,
			Message: "The request body is larger than this route accepts",
			Members: map[string]any{"max_bytes": limit},
		}
		return p.Handler()
	}
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	if r.Body == nil || r.Body == http.NoBody {
		return []byte{}, nil
	}
	if n := r.ContentLength; n >= 0 {
		// net/http ends the body at Content-Length, and errs if it is shorter.
		b := make([]byte, n)
		if _, err := io.ReadFull(r.Body, b); err != nil {
			return nil, unreadable(err)
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if int64(len(b)) > limit {
		return nil, tooLarge()
	}
	return b, nil
}

func unreadable(err error) error {
	return ValidationFailed(Invalid{Field: "body", Message: "the request body ended early or could not be read"}).
		Because(errors.Join(ErrNoBody, err)).Handler()
}
