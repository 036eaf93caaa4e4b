package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result of a run.
type Result struct {
	// Requests that were answered, whatever the answer.
	Requests int
	// Status counts answers.
	Status map[int]int
	// Processed and Duplicate count what the gateway said of events.
	Processed, Duplicate int
	// RetryAfter counts answers other than 200 that said when to come back.
	RetryAfter int
	// Errors are connections that broke, were refused or could not be
	// understood; Unanswered are requests that had no answer at the end.
	Errors, Unanswered int
	// Unsent were due within the run and found no connection free.
	Unsent int
	// FirstError is one of Errors.
	FirstError string
	// Elapsed is from the first request to the last answer.
	Elapsed time.Duration
	// GeneratorCPU is what this generator used meanwhile.
	GeneratorCPU time.Duration
	// Accepted and Refused are latencies in microseconds of answers 200 and of
	// all others. In an open loop they count from when the request was due, not
	// from when it could be sent.
	Accepted, Refused *hdrhistogram.Histogram
	// Served is Accepted counted from when the request was sent: the server's
	// share, where the generator had to wait for a free connection.
	Served *hdrhistogram.Histogram
}

func newResult() *Result {
	return &Result{Status: make(map[int]int), Accepted: newHistogram(), Refused: newHistogram(), Served: newHistogram()}
}

// newHistogram holds 1 µs to 2 min with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), 3)
}

// PerSecond is answers a second.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

// GeneratorMicros is the generator's CPU time a request in microseconds.
func (r *Result) GeneratorMicros() float64 {
	if r.Requests == 0 {
		return 0
	}
	return float64(r.GeneratorCPU.Nanoseconds()) / 1000 / float64(r.Requests)
}

// Latency is a quantile (0–100) of a histogram of this package.
func Latency(h *hdrhistogram.Histogram, quantile float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(quantile)) * time.Microsecond
}

// record takes an answer that came so long after it was due, and after it was sent.
func (r *Result) record(resp *response, latency, service time.Duration) {
	r.Requests++
	r.Status[resp.status]++
	us := micros(latency)
	if resp.status != 200 {
		if resp.retryAfter {
			r.RetryAfter++
		}
		_ = r.Refused.RecordValue(us)
		return
	}
	_ = r.Accepted.RecordValue(us)
	_ = r.Served.RecordValue(micros(service))
	switch b := resp.start(); {
	case hasPrefix(b, processed):
		r.Processed++
	case hasPrefix(b, duplicate):
		r.Duplicate++
	}
}

func micros(d time.Duration) int64 { return max(1, d.Microseconds()) }

func hasPrefix(b, prefix []byte) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == string(prefix)
}
