// Package diagnostics is the handler `osa_diagnostics`: it shows what is in the
// event log and how the gateway fares.
package diagnostics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Handler)) }

// readTimeout bounds what one request may take of the log.
const readTimeout = 10 * time.Second

// Handler answers with one view of the gateway. It answers every request that
// reaches it.
type Handler struct {
	// View is what is shown: `events` (the log, filtered), `event` (one event
	// with its payload; its id is the last part of the path), `last_webhook`
	// (recent webhooks and how they fare) or `health` (open to all).
	View string `json:"view"`
	// AnonymousWorkspace is the workspace that requests without a principal may
	// read. Without it they are refused; give it only where something else,
	// such as a list of networks, decides who may read.
	AnonymousWorkspace string `json:"anonymous_workspace,omitempty"`

	ctx       caddy.Context
	app       *osa.App
	view      view
	anonymous string
}

// view answers a request. ctx ends with the request, or after readTimeout.
type view func(h *Handler, ctx context.Context, w http.ResponseWriter, r *http.Request) error

var views = map[string]view{
	"events":       (*Handler).events,
	"event":        (*Handler).event,
	"last_webhook": (*Handler).lastWebhook,
	"health":       (*Handler).health,
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_diagnostics", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the view and the app.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.ctx, h.view = ctx, views[h.View]
	h.anonymous = caddy.NewReplacer().ReplaceAll(h.AnonymousWorkspace, "")
	h.app, err = osa.Of(ctx)
	return err
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error { return osa.ConfigErrors(h.ctx, h.validate()) }

func (h *Handler) validate() error {
	var errs []error
	if h.view == nil {
		errs = append(errs, fmt.Errorf("osa_diagnostics: there is no view %q; known: %s",
			h.View, strings.Join(slices.Sorted(maps.Keys(views)), ", ")))
	}
	switch {
	case h.AnonymousWorkspace == "":
	case h.View == "health":
		errs = append(errs, errors.New("osa_diagnostics health: anonymous_workspace has no meaning: health is open and shows no workspace"))
	case !osa.ValidWorkspace(h.anonymous):
		errs = append(errs, fmt.Errorf("osa_diagnostics %s: %w", h.View, osa.InvalidWorkspace("anonymous_workspace", h.AnonymousWorkspace)))
	}
	return errors.Join(errs...)
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return (&httperror.Error{
			Status: http.StatusMethodNotAllowed, Code: httperror.CodeMethodNotAllowed,
			Message: "This endpoint answers to GET and HEAD",
			Header:  http.Header{"Allow": {"GET, HEAD"}},
		}).HandlerError()
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	return h.view(h, ctx, w, r)
}

// workspace is the one that the request may read, "" for all of them. Errors are
// ready to be returned.
func (h *Handler) workspace(r *http.Request) (string, error) {
	p := osa.PrincipalOf(r)
	if p == nil {
		if h.anonymous != "" {
			return h.anonymous, nil
		}
		return "", httperror.Unauthenticated(`Bearer realm="osa"`, "api_key", "jwt").
			WithCause(errors.New("no principal: osa_auth must come before osa_diagnostics")).HandlerError()
	}
	ws := p.Workspace()
	if ws == "" && !p.Has(osa.PermAllWorkspaces) {
		// Without a workspace a filter would select all of them.
		return "", httperror.AccessDenied([]string{osa.PermAllWorkspaces}, p.Permissions).HandlerError()
	}
	return ws, nil
}

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
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
