package stream

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// totals count for as long as the process lives. They are what the series and
// the admin endpoint both show.
var totals = struct {
	opened, deliveries, bytes, resets, gaps, skipped atomic.Uint64

	closed, refused map[string]*atomic.Uint64 // by reason; the maps do not change
}{
	closed:  counters(endReasons[:]),
	refused: counters([]string{refusedTotal, refusedPrincipal, refusedUnavailable}),
}

// Limits at which streams are refused for now. Beyond the last one, the gateway
// or its log cannot serve a stream at the moment.
const (
	refusedTotal       = "total"
	refusedPrincipal   = "principal"
	refusedUnavailable = "unavailable"
)

func counters(names []string) map[string]*atomic.Uint64 {
	all := make(map[string]*atomic.Uint64, len(names))
	for _, name := range names {
		all[name] = new(atomic.Uint64)
	}
	return all
}

// lasted is how long streams that have ended were open. Caddy's own buckets end
// at ten seconds.
var lasted = prometheus.NewHistogram(prometheus.HistogramOpts{
	Namespace: "osa", Subsystem: "stream", Name: "duration_seconds", Help: "How long streams that have ended were open.",
	Buckets: []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600},
})

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("osa_stream_"+name, help, labels, nil)
}

var (
	openDesc = desc("open", "Streams that are open.")
	overDesc = desc("taken_over", "Streams whose handler has returned: Caddy's own metrics count them as done.")
	fullDesc = desc("blocked", "Streams whose connection was taken over and whose client has no room for what there is to write.")

	openedDesc     = desc("opened_total", "Streams that were opened.")
	deliveriesDesc = desc("deliveries_total", "Events written to streams, one for each who got it.")
	bytesDesc      = desc("sent_bytes_total", "Bytes written to streams.")
	resetsDesc     = desc("resets_total", "Streams whose place was not in the log, at the beginning or since retention was faster.")
	gapsDesc       = desc("gaps_total", "How often a slow reader that asked for the latest was moved ahead.")
	skippedDesc    = desc("skipped_events_total", "Events that such readers did not get.")
	closedDesc     = desc("closed_total", "Streams that ended, by reason.", "reason")
	refusedDesc    = desc("refused_total", "Streams refused for now, whatever status that was told with.", "limit")

	lagDesc       = desc("lag_events", "How far the hub is behind the log, in sequence numbers.")
	clientLagDesc = desc("client_lag_events", "How many events open streams have yet to write: quantiles over the streams.", "quantile")
	behindDesc    = desc("behind", "Streams that are reading from the log instead of the live window.")
	filtersDesc   = desc("filters", "Different filters of open streams.")
	windowDesc    = desc("window_bytes", "What the shared frames of recent events take.")
)

// collector shows totals, and asks the open streams and their hubs when it is
// asked. It lives as long as the process: Caddy makes its registry anew at every
// reload.
type collector struct{}

func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		openDesc, overDesc, fullDesc, openedDesc, deliveriesDesc, bytesDesc, resetsDesc, gapsDesc, skippedDesc,
		closedDesc, refusedDesc, lagDesc, clientLagDesc, behindDesc, filtersDesc, windowDesc,
	} {
		ch <- d
	}
}

func (collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v *atomic.Uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v.Load()), labels...)
	}
	s := the.summary(the.streams())
	gauge(openDesc, float64(s.Open))
	gauge(overDesc, float64(s.TakenOver))
	gauge(fullDesc, float64(s.Blocked))
	gauge(lagDesc, float64(s.HubLagEvents))
	gauge(clientLagDesc, float64(s.LagEvents.P50), "0.5")
	gauge(clientLagDesc, float64(s.LagEvents.P99), "0.99")
	gauge(clientLagDesc, float64(s.LagEvents.Max), "1")
	gauge(behindDesc, float64(s.CatchingUp))
	gauge(filtersDesc, float64(s.Filters))
	gauge(windowDesc, float64(s.WindowBytes))

	counter(openedDesc, &totals.opened)
	counter(deliveriesDesc, &totals.deliveries)
	counter(bytesDesc, &totals.bytes)
	counter(resetsDesc, &totals.resets)
	counter(gapsDesc, &totals.gaps)
	counter(skippedDesc, &totals.skipped)
	for reason, n := range totals.closed {
		counter(closedDesc, n, reason)
	}
	for limit, n := range totals.refused {
		counter(refusedDesc, n, limit)
	}
}
