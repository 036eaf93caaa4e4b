package signature

import "github.com/prometheus/client_golang/prometheus"

// The labels are configured names and fixed reasons: nothing that a client sends.
var (
	verifiedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "signature", Name: "verified_total",
		Help: "Requests whose signature holds, by scheme and id of the secret.",
	}, []string{"scheme", "secret"})
	rejectedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "osa", Subsystem: "signature", Name: "rejected_total",
		Help: "Requests that were refused for their signature, by scheme and reason.",
	}, []string{"scheme", "reason"})
)
