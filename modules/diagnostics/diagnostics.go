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

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// DefaultDiagnosticsPath is where osa_diagnostics serves its endpoints unless another
// path_prefix is configured.
const DefaultDiagnosticsPath = "/api/diagnostics"

// Diagnostics serves `last-webhook` below its path: recent events, and how receiving
// them goes. It needs the permission events:read and answers every request that
// reaches it.
type Diagnostics struct {
	// PathPrefix is the path that the endpoints are below; default /api/diagnostics.
	PathPrefix string `json:"path_prefix,omitempty"`

	ctx caddy.Context
	log logReader
}

// CaddyModule returns the Caddy module information.
func (*Diagnostics) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_diagnostics", New: func() caddy.Module { return new(Diagnostics) }}
}

// Provision sets the default and finds the app.
func (h *Diagnostics) Provision(ctx caddy.Context) (err error) {
	h.ctx = ctx
	if h.PathPrefix == "" {
		h.PathPrefix = DefaultDiagnosticsPath
	}
	h.log.app, err = osa.Of(ctx)
	return err
}

// Validate checks the path.
func (h *Diagnostics) Validate() error {
	if err := osa.CheckPathPrefix(h.PathPrefix); err != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_diagnostics: %w", err))
	}
	return nil
}

// ServeHTTP answers with what the path names. It answers 404 for other paths, and 405
// for other methods than GET and HEAD.
func (h *Diagnostics) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if rest, ok := osa.PathBelow(r, h.PathPrefix); !ok || !strings.EqualFold(rest, "/last-webhook") {
		return caddyhttp.Error(http.StatusNotFound, nil)
	}
	return serve(w, r, h.log.lastWebhook)
}

// sampleSize is how many of the newest webhooks say how they fare.
const sampleSize = 200

// The share of failures, in per cent of the sample, from which webhooks are
// called degraded and unhealthy. The runbook wants nine runs in ten to succeed.
const (
	degradedRate  = 10
	unhealthyRate = 50
)

// systemHealth is computed from the newest sampleSize webhooks of the workspace,
// whatever the request filters by. Figures are null where there are none.
type systemHealth struct {
	// WebhookStatus is unknown without a webhook, and otherwise goes by the
	// failure rate and by whether events can be stored.
	WebhookStatus string `json:"webhook_status"`
	// RecentFailureRate is the percentage of webhooks that tell of a failure,
	// a timeout or an error.
	RecentFailureRate *float64 `json:"recent_failure_rate"`
	// AvgProcessingTime is what the gateway took for a webhook, in milliseconds.
	AvgProcessingTime *float64   `json:"avg_processing_time"`
	LastWebhookAt     *time.Time `json:"last_webhook_at"`
	SampleSize        int        `json:"sample_size"`
	// Components are parts of the gateway that work no more than partly, with
	// their status; see components.
	Components map[string]string `json:"components,omitempty"`
}

// lastWebhook is the newest webhooks and how they fare: the runbook's answer (R
// "Diagnostics"), a list with one member more.
func (h logReader) lastWebhook(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	l, log, done, err := h.list(ctx, r, defaultLastWebhooks)
	if err != nil {
		return err
	}
	defer done()
	sample, err := h.sample(ctx, log, l.filter.WorkspaceID)
	if err != nil {
		return listFailed(r, err)
	}
	health, err := response.Encode(assess(sample, writable(log) == nil).with(components()))
	if err != nil {
		return httperror.Internal(err).HandlerError()
	}
	return h.sendList(w, r, log, l, append([]byte(`,"system_health":`), health...))
}

// sample is the newest webhooks of the workspace, read in one turn.
func (h logReader) sample(ctx context.Context, log *eventlog.Log, ws string) ([]*event.Event, error) {
	release, err := h.app.Turn(ctx, ws)
	if err != nil {
		return nil, err
	}
	defer release()
	q := storage.Query{Filter: event.Filter{WorkspaceID: ws, WebhooksOnly: true}}
	var sample []*event.Event
	for len(sample) < sampleSize {
		// An engine may end its pages early.
		q.Limit = sampleSize - len(sample)
		page, err := log.Query(ctx, q)
		if err != nil {
			if len(sample) > 0 && errors.Is(err, context.DeadlineExceeded) {
				break
			}
			return nil, err
		}
		sample = append(sample, page.Events...)
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	return sample, nil
}

func assess(newest []*event.Event, writable bool) systemHealth {
	s := systemHealth{WebhookStatus: unknown, SampleSize: len(newest)}
	if n := float64(len(newest)); n > 0 {
		var took time.Duration
		failures := 0
		for _, e := range newest {
			took += e.ProcessingTime
			if failed(e) {
				failures++
			}
		}
		rate := round(100 * float64(failures) / n)
		avg := round(event.Milliseconds(took) / n)
		at := newest[0].ReceivedAt.Truncate(time.Microsecond)
		s.RecentFailureRate, s.AvgProcessingTime, s.LastWebhookAt = &rate, &avg, &at
		switch {
		case rate >= unhealthyRate:
			s.WebhookStatus = unhealthy
		case rate >= degradedRate:
			s.WebhookStatus = degraded
		default:
			s.WebhookStatus = healthy
		}
	}
	if !writable {
		s.WebhookStatus = unhealthy
	}
	return s
}

// components are parts of the gateway, other than the log, that are not healthy.
// credentials is degraded while a file of keys or secrets cannot be used, and what
// it said before is still in force.
func components() map[string]string {
	if credentials.Healthy() {
		return nil
	}
	return map[string]string{"credentials": degraded}
}

// with adds the components. They do not make it better.
func (s systemHealth) with(components map[string]string) systemHealth {
	s.Components = components
	if len(components) > 0 && s.WebhookStatus != unhealthy {
		s.WebhookStatus = degraded
	}
	return s
}

func failed(e *event.Event) bool {
	return e.Kind == event.KindError || e.Status == event.StatusFailed || e.Status == event.StatusTimeout
}

// round keeps three decimals.
func round(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }
