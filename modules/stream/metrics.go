package stream

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The collectors live as long as the process: Caddy makes its registry anew at
// every reload.
var metrics = struct {
	open               prometheus.Gauge
	deliveries, resets prometheus.Counter
	closed, refused    *prometheus.CounterVec
	lag                hubCollector
}{
	open: prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "osa", Subsystem: "stream", Name: "open", Help: "Streams that are open.",
	}),
	deliveries: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "stream", Name: "deliveries_total", Help: "Events written to streams, one for each who got it.",
	}),
	resets: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "stream", Name: "resets_total", Help: "Streams that came with an id outside the log.",
	}),
	closed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "stream", Name: "closed_total", Help: "Streams that ended, by reason.",
	}, []string{"reason"}),
	refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "stream", Name: "refused_total", Help: "Streams refused at a limit.",
	}, []string{"limit"}),
}

var (
	lagDesc = prometheus.NewDesc("osa_stream_lag_events",
		"How far the hub is behind the log, in sequence numbers.", nil, nil)
	behindDesc = prometheus.NewDesc("osa_stream_behind",
		"Streams that are reading from the log instead of the live window.", nil, nil)
	windowDesc = prometheus.NewDesc("osa_stream_window_bytes",
		"What the shared frames of recent events take.", nil, nil)
)

// hubCollector asks the hubs of open streams when it is asked.
type hubCollector struct{}

func (hubCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- lagDesc
	ch <- behindDesc
	ch <- windowDesc
}

func (hubCollector) Collect(ch chan<- prometheus.Metric) {
	var lag uint64
	var behind, window int
	for _, h := range the.used() {
		s := h.Stats()
		lag, behind, window = max(lag, s.Lag), behind+s.Behind, window+s.WindowBytes
	}
	ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(lag))
	ch <- prometheus.MustNewConstMetric(behindDesc, prometheus.GaugeValue, float64(behind))
	ch <- prometheus.MustNewConstMetric(windowDesc, prometheus.GaugeValue, float64(window))
}
