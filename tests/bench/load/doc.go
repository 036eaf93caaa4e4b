// Package load sends signed webhooks to a gateway and measures how they are
// answered. It needs Linux: see Run.
//
// In an open loop requests become due at a fixed rate, whatever the server does,
// and latencies count from when a request was due, so that a server that stalls
// is charged with everything that it kept waiting (no coordinated omission). In
// a closed loop every connection sends its next request when it has its answer,
// which finds the highest throughput.
package load
