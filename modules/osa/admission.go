package osa

import (
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

// Admission is the process' one admission controller, which outlives
// configurations: it is the process that runs out of memory.
var Admission = sync.OnceValue(admission.NewController)

// Receiver is a handler that can tell before a request's body is read that it could
// not be taken.
type Receiver interface {
	// Writable is why a request would be refused now, ready to be returned by a
	// handler, or nil.
	Writable() error
}

// ReceiverBehind is the receiver that a handler of this configuration stands in
// front of, nil if there is none. Only handlers of ours may stand between: anything
// else may answer itself.
func ReceiverBehind(ctx caddy.Context, h caddyhttp.MiddlewareHandler) Receiver {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		handlers := flatten(nil, server.Routes)
		for i, other := range handlers {
			if other == h {
				return firstReceiver(handlers[i+1:])
			}
		}
	}
	return nil
}

func firstReceiver(handlers []caddyhttp.MiddlewareHandler) Receiver {
	for _, h := range handlers {
		if r, ok := h.(Receiver); ok {
			return r
		}
		module, ok := h.(caddy.Module)
		if !ok || !strings.HasPrefix(module.CaddyModule().ID.Name(), handlerPrefix) {
			return nil
		}
	}
	return nil
}

// flatten lists handlers in the order in which they stand.
func flatten(handlers []caddyhttp.MiddlewareHandler, routes caddyhttp.RouteList) []caddyhttp.MiddlewareHandler {
	for _, route := range routes {
		for _, h := range route.Handlers {
			if sub, ok := h.(*caddyhttp.Subroute); ok {
				handlers = flatten(handlers, sub.Routes)
				continue
			}
			handlers = append(handlers, h)
		}
	}
	return handlers
}

// admissionMetrics shows what was let in, as of when it is asked.
type admissionMetrics struct{}

var (
	bodyBytes = prometheus.NewDesc("osa_admission_body_bytes",
		"Bytes that request bodies hold, by what was known of their senders.", []string{"class"}, nil)
	bodiesArriving = prometheus.NewDesc("osa_admission_bodies_arriving", "Request bodies that are being read.", []string{"class"}, nil)
	bodiesWaiting  = prometheus.NewDesc("osa_admission_bodies_waiting", "Request bodies that wait for room.", []string{"class"}, nil)
	bodiesRefused  = prometheus.NewDesc("osa_admission_bodies_refused_total",
		"Request bodies that found no room (full), were slower than the minimum rate (slow), or gave way to faster ones (displaced).",
		[]string{"class", "reason"}, nil)
)

func (admissionMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{bodyBytes, bodiesArriving, bodiesWaiting, bodiesRefused} {
		ch <- d
	}
}

func (admissionMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, class := range []admission.Class{admission.Unverified, admission.Authenticated} {
		u, name := Admission().Usage(class), class.String()
		gauge := func(d *prometheus.Desc, n int64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), name)
		}
		gauge(bodyBytes, u.Held)
		gauge(bodiesArriving, int64(u.Arriving))
		gauge(bodiesWaiting, int64(u.Waiting))
		for reason, n := range map[string]int64{"full": u.Full, "slow": u.Slow, "displaced": u.Displaced} {
			ch <- prometheus.MustNewConstMetric(bodiesRefused, prometheus.CounterValue, float64(n), name, reason)
		}
	}
}

// RegisterAdmissionMetrics registers what was let in with the registry of this
// configuration.
func RegisterAdmissionMetrics(ctx caddy.Context) error {
	return RegisterCollectors(ctx, admissionMetrics{})
}
