package diagnostics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// What a status can be.
const (
	healthy   = "healthy"
	degraded  = "degraded"
	unhealthy = "unhealthy"
	unknown   = "unknown"
)

// Health tells whether the gateway is alive and ready, and nothing of what it holds:
// it is open to everybody. It answers every request that reaches it.
type Health struct {
	app *osa.App
}

// CaddyModule returns the Caddy module information.
func (*Health) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_health", New: func() caddy.Module { return new(Health) }}
}

// Provision finds the app.
func (h *Health) Provision(ctx caddy.Context) (err error) {
	h.app, err = osa.Of(ctx)
	return err
}

// ServeHTTP answers with the health. It answers 405 for other methods than GET and
// HEAD.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return serve(w, r, h.health)
}

// gatewayHealth is open to all, so it tells no internals.
type gatewayHealth struct {
	Status    string    `json:"status"`
	Message   string    `json:"message,omitempty"`
	Timestamp time.Time `json:"timestamp"`
	// Components as in systemHealth.
	Components map[string]string `json:"components,omitempty"`
}

// health tells whether the gateway works. That the log is not open, after a
// bounded wait, is a 503; that it takes no events, or not all of it can be read,
// is degraded.
func (h *Health) health(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	log, done, err := h.app.Log(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := log.Store(); errors.Is(err, eventlog.ErrClosed) {
		return logFailed(r, err)
	}
	out := gatewayHealth{Status: healthy, Timestamp: time.Now().UTC().Truncate(time.Millisecond)}
	out.Components = components()
	wrong := complaints(log)
	if len(out.Components) > 0 {
		wrong = append(wrong, "a file of credentials cannot be used; what it said before is in force")
	}
	if len(wrong) > 0 {
		out.Status, out.Message = degraded, strings.Join(wrong, "; ")
	}
	return response.JSON(w, http.StatusOK, out)
}

// complaints are what is wrong with a log that goes on nevertheless.
func complaints(log *eventlog.Log) []string {
	var wrong []string
	h := log.Health()
	if h.Reopening {
		wrong = append(wrong, "the event log is being opened anew after a failed write")
	} else if writable(log) != nil {
		wrong = append(wrong, "events cannot be stored at the moment")
	}
	if len(h.Damaged) > 0 {
		n := uint64(0)
		for _, r := range h.Damaged {
			n += r.Last - r.First + 1
		}
		wrong = append(wrong, fmt.Sprintf("up to %d events are damaged and cannot be read", n))
	}
	if n := len(h.Repaired); n > 0 {
		wrong = append(wrong, fmt.Sprintf("%d files of the store are damaged; nothing of them is lost", n))
	}
	for _, p := range h.Rebuilding {
		wrong = append(wrong, fmt.Sprintf("%s is being made anew: %d of %d events", p.Part, p.Done, p.Total))
	}
	if h.SetAside > 0 {
		wrong = append(wrong, fmt.Sprintf("%d events are left out of what is derived from the log", h.SetAside))
	}
	return wrong
}

func writable(log *eventlog.Log) error {
	store, err := log.Store()
	if err != nil {
		return err
	}
	return store.Writable()
}
