package diagnostics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/storage"
)

// sampleSize is how many of the newest webhooks say how they fare.
const sampleSize = 200

// The share of failures, in per cent of the sample, from which webhooks are
// called degraded and unhealthy. The runbook wants nine runs in ten to succeed.
const (
	degradedRate  = 10
	unhealthyRate = 50
)

// What a status can be.
const (
	healthy   = "healthy"
	degraded  = "degraded"
	unhealthy = "unhealthy"
	unknown   = "unknown"
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
func (h *Handler) lastWebhook(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	l, log, done, err := h.list(ctx, r, defaultLastWebhooks)
	if err != nil {
		return err
	}
	defer done()
	sample, err := h.sample(ctx, log, l.filter.WorkspaceID)
	if err != nil {
		return h.listFailed(r, err)
	}
	health, err := response.Encode(assess(sample, writable(log) == nil).with(components()))
	if err != nil {
		return httperror.Internal(err).HandlerError()
	}
	return h.sendList(w, r, log, l, append([]byte(`,"system_health":`), health...))
}

// sample is the newest webhooks of the workspace, read in one turn.
func (h *Handler) sample(ctx context.Context, log *eventlog.Log, ws string) ([]*event.Event, error) {
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
func (h *Handler) health(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
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
