package osa

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/connections"
	"github.com/osa-edge/osa-gateway/internal/descriptors"
	"github.com/osa-edge/osa-gateway/internal/memory"
)

// connectionBytes is about what a connection takes that waits: its buffers, its
// goroutine, TLS. All of them may have a quarter of the memory.
const connectionBytes = 16 << 10

// fewConnections is what a production gateway should be able to hold at least.
const fewConnections = 1000

// conns are the connections of all servers of this process that have handlers of
// this gateway, across reloads.
var conns = sync.OnceValue(func() *connections.Set {
	s := connections.New(func() int { return descriptors.Process().Highest })
	limit, _ := connectionLimit(0, descriptors.Process(), memory.Process())
	s.SetLimit(limit)
	return s
})

// connectionLimit is how many connections may be open, and what says so. wanted is
// max_connections, or 0.
func connectionLimit(wanted int, d descriptors.Budget, m memory.Budget) (limit int, by string) {
	limit, by = wanted, "max_connections"
	if wanted == 0 {
		limit, by = int(m.Limit.Bytes/4/connectionBytes), "memory"
	}
	if d.Limit > 0 && d.Connections < limit {
		limit, by = d.Connections, "descriptors"
	}
	return limit, by
}

// bounds are the bounds on connections of the configurations in use, the newest
// last: that one is in force.
var bounds struct {
	sync.Mutex
	of []*App
}

// boundConnections puts the app's bound in force.
func (a *App) boundConnections() {
	d, m := descriptors.Process(), memory.Process()
	limit, by := connectionLimit(a.MaxConnections, d, m)
	a.connections = limit
	bounds.Lock()
	defer bounds.Unlock()
	bounds.of = append(bounds.of, a)
	conns().SetLimit(limit)

	fields := append([]zap.Field{zap.Int("max_connections", limit), zap.String("limited_by", by)}, d.Fields()...)
	a.log.Info("connections are bounded", fields...)
	const raise = "raise the hard limit: LimitNOFILE= of a systemd unit, --ulimit nofile= of a container, ulimit -n of a shell"
	switch {
	case !d.Enough():
		a.log.Warn("the process may have fewer file descriptors than the store and itself may need: webhooks can be refused; "+raise,
			append(fields, zap.Int("descriptors_needed", descriptors.Needed(fewConnections)))...)
	case a.MaxConnections > limit:
		a.log.Warn("max_connections is more than the file descriptors of the process allow; "+raise,
			append(fields, zap.Int("configured", a.MaxConnections), zap.Int("descriptors_needed", descriptors.Needed(a.MaxConnections)))...)
	case a.MaxConnections == 0 && by == "descriptors" && limit < fewConnections:
		a.log.Warn("the file descriptors of the process allow few connections; "+raise,
			append(fields, zap.Int("descriptors_needed", descriptors.Needed(fewConnections)))...)
	}
}

// unboundConnections puts the bound of the configuration before the app's in force
// again, if the app's was the newest.
func (a *App) unboundConnections() {
	bounds.Lock()
	defer bounds.Unlock()
	bounds.of = slices.DeleteFunc(bounds.of, func(other *App) bool { return other == a })
	if n := len(bounds.of); n > 0 {
		conns().SetLimit(bounds.of[n-1].connections)
	}
}

// connectionMetrics tells of the connections.
type connectionMetrics struct{}

var (
	connectionsOpen = prometheus.NewDesc("osa_connections_open",
		"Open connections of the servers that have handlers of this gateway.", nil, nil)
	connectionsLimit = prometheus.NewDesc("osa_connections_limit",
		"How many connections may be open at the same time.", nil, nil)
	connectionsClosed = prometheus.NewDesc("osa_connections_closed_total",
		"Connections that were closed to make room, by what they did.", []string{"reason"}, nil)
)

// Describe implements prometheus.Collector.
func (connectionMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectionsOpen
	ch <- connectionsLimit
	ch <- connectionsClosed
}

// Collect implements prometheus.Collector.
func (connectionMetrics) Collect(ch chan<- prometheus.Metric) {
	s := conns()
	ch <- prometheus.MustNewConstMetric(connectionsOpen, prometheus.GaugeValue, float64(s.Open()))
	ch <- prometheus.MustNewConstMetric(connectionsLimit, prometheus.GaugeValue, float64(s.Limit()))
	for _, reason := range connections.Reasons() {
		ch <- prometheus.MustNewConstMetric(connectionsClosed, prometheus.CounterValue, float64(s.Closed(reason)), reason.String())
	}
}
