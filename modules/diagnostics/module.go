// Package diagnostics has the directives osa_events, osa_diagnostics and osa_health:
// they show what is in the event log, and how the gateway is.
package diagnostics

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() {
	caddy.RegisterModule(new(Events))
	caddy.RegisterModule(new(Diagnostics))
	caddy.RegisterModule(new(Health))
}

// readTimeout bounds what one request may take of the log.
const readTimeout = 10 * time.Second

// endpoint answers GET and HEAD. ctx ends with the request, or after readTimeout.
type endpoint func(ctx context.Context, w http.ResponseWriter, r *http.Request) error

// serve calls the endpoint, or answers 405.
func serve(w http.ResponseWriter, r *http.Request, get endpoint) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return httperror.MethodNotAllowed("This endpoint answers to GET and HEAD", http.MethodGet, http.MethodHead).HandlerError()
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	return get(ctx, w, r)
}

// logReader reads the event log of the app for handlers.
type logReader struct{ app *osa.App }

// statusClientClosed is what the access log says of a client who did not wait.
const statusClientClosed = 499

// logFailed is what a client sees of an error of the log.
func logFailed(r *http.Request, err error) error {
	switch {
	case r.Context().Err() != nil:
		return caddyhttp.Error(statusClientClosed, err)
	case errors.Is(err, context.DeadlineExceeded):
		p := &httperror.Error{
			Status: http.StatusGatewayTimeout, Code: httperror.CodeTimeout, Message: "Reading the event log took too long",
			Members: map[string]any{"timeout_details": map[string]any{"timeout_ms": readTimeout.Milliseconds()}}, Err: err,
		}
		return p.HandlerError()
	}
	return osa.EventLogError(err).HandlerError()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Events)(nil)
	_ caddy.Validator             = (*Events)(nil)
	_ caddyhttp.MiddlewareHandler = (*Events)(nil)
	_ caddy.Provisioner           = (*Diagnostics)(nil)
	_ caddy.Validator             = (*Diagnostics)(nil)
	_ caddyhttp.MiddlewareHandler = (*Diagnostics)(nil)
	_ caddy.Provisioner           = (*Health)(nil)
	_ caddyhttp.MiddlewareHandler = (*Health)(nil)
)
