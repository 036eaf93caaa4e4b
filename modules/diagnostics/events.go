package diagnostics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/query"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/internal/sensitive"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// How many events a list has where the client does not say.
const (
	defaultEvents       = 50
	defaultLastWebhooks = 10
)

// DefaultEventsPath is where osa_events serves the log unless another path_prefix is
// configured.
const DefaultEventsPath = "/api/webhook-events"

// Events serves the event log: lists of events at its path, and single events below
// it. It needs the permission events:read and answers every request that reaches it.
type Events struct {
	// PathPrefix is the path of the list; default /api/webhook-events. A single event
	// has its id after a slash.
	PathPrefix string `json:"path_prefix,omitempty"`

	ctx caddy.Context
	log logReader
}

// CaddyModule returns the Caddy module information.
func (*Events) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_events", New: func() caddy.Module { return new(Events) }}
}

// Provision sets the default and finds the app.
func (h *Events) Provision(ctx caddy.Context) (err error) {
	h.ctx = ctx
	if h.PathPrefix == "" {
		h.PathPrefix = DefaultEventsPath
	}
	h.log.app, err = osa.Of(ctx)
	return err
}

// Validate checks the path.
func (h *Events) Validate() error {
	if err := osa.CheckPathPrefix(h.PathPrefix); err != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_events: %w", err))
	}
	return nil
}

// ServeHTTP answers with a list of events or with one event. It answers 404 for other
// paths, and 405 for other methods than GET and HEAD.
func (h *Events) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	rest, ok := osa.PathBelow(r, h.PathPrefix)
	id := strings.TrimPrefix(rest, "/")
	switch {
	case !ok, strings.Contains(id, "/"):
		return caddyhttp.Error(http.StatusNotFound, nil)
	case rest == "":
		return serve(w, r, h.log.events)
	}
	return serve(w, r, func(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
		return h.log.event(ctx, w, r, id)
	})
}

// events is the log, filtered.
func (h logReader) events(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	l, log, done, err := h.list(ctx, r, defaultEvents)
	if err != nil {
		return err
	}
	defer done()
	return h.sendList(w, r, log, l, nil)
}

// list reads the parameters of a list and opens the log. Errors are ready to be
// returned; without one, done has to be called.
func (h logReader) list(ctx context.Context, r *http.Request, limit int) (l listing, log *eventlog.Log, done func(), err error) {
	_, ws, err := osa.RequireWorkspace(r, osa.PermEventsRead)
	if err != nil {
		return listing{}, nil, nil, err
	}
	l, bad := parseListing(r.URL.RawQuery, limit)
	if len(bad) > 0 {
		return listing{}, nil, nil, httperror.ValidationFailed(bad...).HandlerError()
	}
	l.filter.WorkspaceID = ws
	log, done, err = h.app.Log(ctx)
	return l, log, done, err
}

// event is one record with its payload, sensitive members masked.
func (h logReader) event(ctx context.Context, w http.ResponseWriter, r *http.Request, id string) error {
	_, ws, err := osa.RequireWorkspace(r, osa.PermEventsRead)
	if err != nil {
		return err
	}
	if bad := query.Parse(r.URL.RawQuery).Invalid(); len(bad) > 0 {
		return httperror.ValidationFailed(bad...).HandlerError()
	}
	// An event of another workspace does not exist, and is not to be told from
	// one that never did.
	missing := httperror.NotFound("event", clip(id)).HandlerError()
	seq, err := event.ParseID(id)
	if err != nil {
		return missing
	}
	log, done, err := h.app.Log(ctx)
	if err != nil {
		return err
	}
	defer done()
	e, release, err := h.read(ctx, log, seq, ws)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return missing
	case err != nil:
		return listFailed(r, err)
	}
	defer release()
	record, err := response.Encode(e)
	if err != nil {
		return httperror.Internal(err).HandlerError()
	}
	body := make([]byte, 0, len(record)+len(e.Body)+64)
	body = append(body, record[:len(record)-1]...)
	body = append(body, `,"payload":`...)
	body = sensitive.AppendMasked(body, e.Body, sensitive.Masked)
	body = append(body, '}')
	e.Body = nil
	response.Write(w, http.StatusOK, body)
	return nil
}

// recordBytes is more than an event takes without its body.
const recordBytes = 64 << 10

// read reads an event of the workspace with its body, and takes room for twice
// that: its body, and the answer. An event that is not the workspace's is
// storage.ErrNotFound, and its body is not read.
func (h logReader) read(ctx context.Context, log *eventlog.Log, seq uint64, ws string) (e *event.Event, release func(), err error) {
	end, err := h.app.Turn(ctx, ws)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	found, err := log.Read(ctx, seq-1, 1)
	switch {
	case err != nil:
		return nil, nil, err
	case len(found) == 0 || found[0].Seq != seq:
		// What is damaged is left out there, and is not missing.
		if _, err := log.Get(ctx, seq); err != nil {
			return nil, nil, err
		}
		return nil, nil, storage.ErrNotFound
	case ws != "" && found[0].WorkspaceID != ws:
		return nil, nil, storage.ErrNotFound
	}
	release, ok := osa.Answers().AcquireLarge(ws, 2*int64(found[0].Size)+recordBytes)
	if !ok {
		return nil, nil, errAnswers
	}
	if e, err = log.Get(ctx, seq); err != nil {
		release()
		return nil, nil, err
	}
	return e, release, nil
}

// clip shortens what is repeated to the client.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
