package osa

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/storage"
)

// The collectors live as long as the process: Caddy makes its registry anew at
// every reload, and counters must not begin again.
var metrics = struct {
	committed, duplicates, mismatched, projected, pruned, aside, reopened prometheus.Counter
	refused                                                               *prometheus.CounterVec
	batch, wait, commit, project                                          prometheus.Histogram
	queued, lag                                                           prometheus.Gauge
}{
	committed:  counter("events_committed_total", "Events made durable."),
	duplicates: counter("events_duplicate_total", "Events that the log already held."),
	mismatched: counter("events_payload_mismatch_total", "Events that came again with another body."),
	projected:  counter("events_projected_total", "Events taken by the projector, once for each projection."),
	aside:      counter("events_set_aside_total", "Events that could not be projected and were left out."),
	reopened:   counter("store_reopened_total", "How often the store was opened anew after a failed write."),
	pruned:     counter("events_pruned_total", "Events that retention forgot."),
	refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "log", Name: "appends_refused_total", Help: "Appends that were refused or failed, by reason.",
	}, []string{"reason"}),
	batch: histogram("commit_batch_events", "Events in a commit.", prometheus.ExponentialBuckets(1, 2, 9)),
	wait: histogram("commit_wait_seconds", "How long the oldest event of a commit had queued.",
		prometheus.ExponentialBuckets(50e-6, 2, 14)),
	commit: histogram("commit_seconds", "What the engine took for a commit, with its sync.",
		prometheus.ExponentialBuckets(50e-6, 2, 14)),
	project: histogram("project_seconds", "What one projection took.", prometheus.ExponentialBuckets(50e-6, 2, 14)),
	queued:  gauge("queue_events", "Events waiting for a commit, or to be admitted, at the last commit."),
	lag:     gauge("projector_lag_events", "How far the projection is behind the log that was written last."),
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "osa", Subsystem: "log", Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "osa", Subsystem: "log", Name: name, Help: help})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "osa", Subsystem: "log", Name: name, Help: help, Buckets: buckets})
}

func registerMetrics(ctx caddy.Context) error {
	return RegisterCollectors(ctx,
		metrics.committed, metrics.duplicates, metrics.mismatched, metrics.projected, metrics.pruned, metrics.aside, metrics.reopened,
		metrics.refused, metrics.batch, metrics.wait, metrics.commit, metrics.project, metrics.queued, metrics.lag, usage, accessRefused, credentials.Collector(), connectionMetrics{})
}

// RegisterCollectors registers process-wide collectors with the registry of this
// configuration; several handlers of one configuration may bring the same ones.
func RegisterCollectors(ctx caddy.Context, collectors ...prometheus.Collector) error {
	registry := ctx.GetMetricsRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return err
		}
	}
	return nil
}

// logObserver turns what the log does into metrics.
type logObserver struct{}

func (logObserver) Committed(n, duplicates int, wait, commit time.Duration, queued int) {
	metrics.committed.Add(float64(n))
	metrics.duplicates.Add(float64(duplicates))
	metrics.batch.Observe(float64(n + duplicates))
	metrics.wait.Observe(wait.Seconds())
	metrics.commit.Observe(commit.Seconds())
	metrics.queued.Set(float64(queued))
}

func (logObserver) Projected(n int, took time.Duration, lag uint64) {
	metrics.projected.Add(float64(n))
	metrics.project.Observe(took.Seconds())
	metrics.lag.Set(float64(lag))
}

func (logObserver) Pruned(n int) { metrics.pruned.Add(float64(n)) }

func (logObserver) Duplicate() { metrics.duplicates.Inc() }

func (logObserver) SetAside() { metrics.aside.Inc() }

func (logObserver) Reopened() { metrics.reopened.Inc() }

func (logObserver) Mismatched() { metrics.mismatched.Inc() }

func (logObserver) Refused(err error) { metrics.refused.WithLabelValues(refusal(err)).Inc() }

func refusal(err error) string {
	switch {
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
	case errors.Is(err, eventlog.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, eventlog.ErrClosed):
		return "closed"
	}
	return "other"
}
