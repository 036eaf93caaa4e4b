package auth

import "github.com/prometheus/client_golang/prometheus"

// The labels are names of ours: nothing that a client sends.
var rejectedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "osa", Subsystem: "auth", Name: "rejected_total",
	Help: "Requests that were refused for their credential, by its kind and the reason.",
}, []string{"method", "reason"})
