package webhook

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// The collectors live as long as the process: Caddy makes its registry anew at
// every reload, and counters must not begin again.
var (
	eventsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "webhook", Name: "events_total",
		Help: "Webhooks that were answered with an event's id: processed, mismatch (a known key with another body, stored) or duplicate.",
	}, []string{"source", "outcome"})
	rejectedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "webhook", Name: "rejected_total",
		Help: "Webhooks that were refused or could not be confirmed, by reason.",
	}, []string{"source", "reason"})
	durationSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "osa", Subsystem: "webhook", Name: "duration_seconds",
		Help:    "From a webhook's arrival to its answer, for those answered with an event's id.",
		Buckets: prometheus.ExponentialBuckets(100e-6, 2, 16),
	}, []string{"source"})
)

func registerMetrics(ctx caddy.Context) error {
	return osa.RegisterCollectors(ctx, eventsTotal, rejectedTotal, durationSeconds)
}

// sourceMetrics are one source's series, looked up once.
type sourceMetrics struct {
	source                         string
	processed, mismatch, duplicate prometheus.Counter
	duration                       prometheus.Observer
}

func metricsOf(source string) sourceMetrics {
	return sourceMetrics{
		source:    source,
		processed: eventsTotal.WithLabelValues(source, "processed"),
		mismatch:  eventsTotal.WithLabelValues(source, "mismatch"),
		duplicate: eventsTotal.WithLabelValues(source, "duplicate"),
		duration:  durationSeconds.WithLabelValues(source),
	}
}

func (m sourceMetrics) rejected(reason string) prometheus.Counter {
	return rejectedTotal.WithLabelValues(m.source, reason)
}

// Why a webhook left nothing in the log.
const (
	reasonUnsigned    = "unsigned"
	reasonBody        = "unreadable_body"
	reasonFields      = "invalid_fields"
	reasonUnavailable = "unavailable"
	reasonCanceled    = "canceled"
	reasonTimeout     = "timeout"
)

func reasonOf(err error) string {
	switch {
	case errors.Is(err, errEncoding):
		return "bad_encoding"
	case errors.Is(err, errTooDeep):
		return "too_deep"
	case errors.Is(err, errJSON):
		return "bad_json"
	case errors.Is(err, errNotObject):
		return "not_an_object"
	case errors.Is(err, eventlog.ErrOverloaded):
		return "overloaded"
	case errors.Is(err, storage.ErrNoSpace):
		return "no_space"
	case errors.Is(err, storage.ErrBusy):
		return "busy"
	case errors.Is(err, storage.ErrRebuilding):
		return "rebuilding"
	case errors.Is(err, eventlog.ErrOutcomeUnknown):
		return "outcome_unknown"
	case errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrClosed):
		return reasonUnavailable
	}
	return "other"
}
