package stream

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// ServeHTTP opens a stream, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return httperror.MethodNotAllowed("A stream is read with GET", http.MethodGet, http.MethodHead).HandlerError()
	}
	err := h.open(w, r)
	if p, ok := errors.AsType[*httperror.Error](err); ok {
		limit, reason := limitOf(p)
		if limit == "" {
			return err
		}
		totals.refused[limit].Add(1)
		if osa.RefuseStream(w, r, p, reason) {
			if c := h.refusals.Check(zap.WarnLevel, "stream refused"); c != nil {
				c.Write(zap.Int("status", p.Status), zap.String("limit", limit), zap.String("request_id", osa.RequestID(r)), zap.Error(p))
			}
			return nil
		}
	}
	return err
}

// limitOf names the limit at which a stream is refused for now; it is "" for any
// other problem. reason is what the client is told; "" leaves it to the status.
func limitOf(p *httperror.Error) (limit, reason string) {
	switch {
	case errors.Is(p, errTooMany):
		return refusedTotal, osa.StreamTooMany
	case errors.Is(p, errTooManyPrincipal):
		return refusedPrincipal, osa.StreamTooMany
	case p.Status == http.StatusServiceUnavailable, p.Status == http.StatusTooManyRequests:
		return refusedUnavailable, ""
	}
	return "", ""
}

// open opens a stream and drives it. Errors come before the response has begun.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) error {
	principal, workspace, err := osa.RequireWorkspace(r, osa.PermEventsRead)
	if err != nil {
		return err
	}
	owner := principal.Method + ":" + principal.ID
	p, invalid := parseParams(r.Header, r.URL.RawQuery, h.policy)
	if len(invalid) > 0 {
		return httperror.ValidationFailed(invalid...).HandlerError()
	}
	p.filter.WorkspaceID = workspace
	if r.Method == http.MethodHead {
		osa.SetStreamHeader(w.Header())
		w.WriteHeader(http.StatusOK)
		return nil
	}

	events, err := h.app.Hub(r.Context())
	if err != nil {
		return err
	}
	if err := the.admit(owner, events, h.MaxStreams, h.MaxStreamsPerPrincipal); err != nil {
		return refusal(err)
	}
	s := &stream{
		owner: owner, log: h.log, request: osa.RequestID(r), client: clientOf(r),
		hub: events, workspace: workspace, metrics: p.metrics, principal: principal, required: osa.RequiredOf(r),
		interval: time.Duration(h.Heartbeat), timeout: time.Duration(h.WriteTimeout), place: -1,
	}
	first, err := s.begin(r.Context(), &p)
	defer s.letGo()
	if err != nil {
		the.release(owner, events)
		if r.Context().Err() != nil {
			return nil //nolint:nilerr // the client has left
		}
		if errors.Is(err, hub.ErrClosed) {
			return httperror.Unavailable("The event stream is being reopened", 2*time.Second).HandlerError()
		}
		return osa.EventLogError(err).HandlerError()
	}
	return h.serve(w, r, s, first)
}

func refusal(err error) error {
	switch {
	case errors.Is(err, errLeaving):
		return httperror.Unavailable("The gateway is restarting", time.Second).WithCause(err).HandlerError()
	case errors.Is(err, errTooManyPrincipal):
		return httperror.Unavailable("Too many open streams for these credentials", 5*time.Second).WithCause(err).HandlerError()
	}
	return httperror.Unavailable("Too many open streams", 5*time.Second).WithCause(err).HandlerError()
}

// begin finds the stream's place in the log and subscribes. It returns what the
// stream begins with.
func (s *stream) begin(ctx context.Context, p *params) ([][]byte, error) {
	first := [][]byte{hub.AppendRetry(nil, reconnectAfter)}
	after := s.hub.Head()
	switch {
	case p.lastID != "":
		var reset string
		var err error
		if after, reset, err = s.hub.Resume(ctx, p.lastID, p.floor); err != nil {
			return nil, err
		}
		if reset != "" {
			totals.resets.Add(1)
			first = append(first, hub.AppendReset(nil, reset, after))
		}
	case p.history > 0:
		// Not on a resume: a browser reconnects to the same URL.
		frames, through, err := s.hub.History(ctx, p.filter, p.history)
		if err != nil {
			return nil, err
		}
		first, after, s.history = append(first, frames...), through, len(frames)
		s.written = func() { s.hub.ReleaseHistory(p.filter.WorkspaceID, frames) }
	}
	s.position.Store(after)
	s.setWake(func() {}) // whoever drives the stream looks before it waits
	sub, err := s.hub.Subscribe(hub.SubscribeOptions{Filter: p.filter, After: after, Policy: p.policy, Wake: s.look})
	s.sub = sub
	return first, err
}
