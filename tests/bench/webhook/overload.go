package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

// overloadPart is how the gateway met more than it can take.
type overloadPart struct {
	Capacity    float64 `json:"capacity_per_second"`
	Connections int     `json:"connections"`
	Phases      []phase `json:"phases"`
}

// phase is one open loop.
type phase struct {
	Name     string  `json:"name"`
	Rate     float64 `json:"rate"`
	Seconds  float64 `json:"seconds"`
	Accepted int     `json:"accepted"`
	Refused  int     `json:"refused_503"`
	// RetryAfter counts refusals that said when to come back, Unsent what found
	// all connections taken, Errors what had no answer.
	RetryAfter int     `json:"retry_after"`
	Unsent     int     `json:"unsent"`
	Errors     int     `json:"errors"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	RefusedP99 float64 `json:"refused_p99_ms"`
	// The same of what was accepted, from when it was sent.
	ServedP50 float64 `json:"served_p50_ms"`
	ServedP99 float64 `json:"served_p99_ms"`
	ServedMax float64 `json:"served_max_ms"`
	Anonymous float64 `json:"memory_anonymous_mib"`
	Peak      float64 `json:"memory_peak_mib"`
	// Batch is how many events were committed at once, Commit what that took.
	Batch  float64 `json:"batch"`
	Commit float64 `json:"commit_ms"`
	// CPU is the server's in µs an answer, GeneratorCPU the generator's.
	CPU          float64 `json:"cpu_us"`
	GeneratorCPU float64 `json:"generator_cpu_us"`
}

func (b *bench) overload(ctx context.Context) (o *overloadPart, err error) {
	p, err := b.start("gateway-overload", b.Binary, keeping, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if _, err := p.Round(ctx, b.Options, max(2000, b.Requests/5), ""); err != nil { // warm up
		return nil, err
	}
	capacity, err := p.Round(ctx, b.Options, b.Requests, "")
	if err != nil {
		return nil, err
	}
	o = &overloadPart{Capacity: capacity.PerSecond, Connections: b.overConns}
	for _, step := range []struct {
		name    string
		factor  float64
		seconds float64
	}{
		{"half of capacity", 0.5, 3}, {"twice capacity", 2, b.overloadSeconds}, {"right after", 0.5, 3},
	} {
		ph, err := b.phase(ctx, p, step.name, step.factor*o.Capacity, step.seconds)
		if err != nil {
			return nil, err
		}
		o.Phases = append(o.Phases, ph)
	}
	return o, nil
}

func (b *bench) phase(ctx context.Context, p *roundrobin.Contender, name string, rate, seconds float64) (phase, error) {
	ph := phase{Name: name, Rate: rate, Seconds: seconds}
	source := load.Prepare(p.Target, b.events(), int(rate*seconds)+1)
	before, err := p.Observe(ctx)
	if err != nil {
		return ph, err
	}
	r, err := load.Run(ctx, load.Options{
		Target: p.Target, Source: source, Connections: b.overConns, Rate: rate,
		Duration: time.Duration(seconds * float64(time.Second)), Patience: 60 * time.Second,
		Pause: 2 * time.Second,
	})
	if err != nil {
		return ph, err
	}
	after, err := p.Observe(ctx)
	if err != nil {
		return ph, err
	}
	ph.Batch, ph.Commit = after.Since(before)
	ph.CPU = float64(after.CPUSince(before).Microseconds()) / float64(max(1, r.Requests))
	ph.GeneratorCPU = r.GeneratorMicros()
	m, err := p.Memory()
	if err != nil {
		return ph, err
	}
	ph.Accepted, ph.Refused, ph.RetryAfter = r.Status[200], r.Status[503], r.RetryAfter
	ph.Unsent, ph.Errors = r.Unsent, r.Errors+r.Unanswered
	ph.P50, ph.P99 = roundrobin.Millis(load.Latency(r.Accepted, 50)), roundrobin.Millis(load.Latency(r.Accepted, 99))
	ph.Max, ph.RefusedP99 = float64(r.Accepted.Max())/1000, roundrobin.Millis(load.Latency(r.Refused, 99))
	ph.ServedP50, ph.ServedP99 = roundrobin.Millis(load.Latency(r.Served, 50)), roundrobin.Millis(load.Latency(r.Served, 99))
	ph.ServedMax = float64(r.Served.Max()) / 1000
	ph.Anonymous, ph.Peak = roundrobin.MiB(m.Anonymous), roundrobin.MiB(m.Peak)
	if other := r.Requests - ph.Accepted - ph.Refused; other > 0 {
		return ph, fmt.Errorf("%s: %w: %v", name, roundrobin.ErrUnexpectedAnswers, r.Status)
	}
	return ph, nil
}

func (o *overloadPart) print(out io.Writer) {
	fmt.Fprintf(out, "\nOverload: capacity %.0f/s, %d connections; latencies count from when a request was due, served from when it was sent\n\n", o.Capacity, o.Connections)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\tdue/s\taccepted/s\tshare\t503/s\tRetry-After\tunsent/s\terrors\tp50 ms\tp99 ms\tmax ms\tserved p50\tp99\tmax\t503 p99 ms\tbatch\tcommit ms\tCPU µs\tgenerator µs\tMiB\tpeak MiB\t")
	for _, p := range o.Phases {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%.0f\t%d\t%.0f\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t\n",
			p.Name, p.Rate, float64(p.Accepted)/p.Seconds, float64(p.Accepted)/p.Seconds/p.Rate, float64(p.Refused)/p.Seconds,
			p.RetryAfter, float64(p.Unsent)/p.Seconds, p.Errors, p.P50, p.P99, p.Max, p.ServedP50, p.ServedP99, p.ServedMax, p.RefusedP99, p.Batch, p.Commit, p.CPU, p.GeneratorCPU, p.Anonymous, p.Peak)
	}
	_ = w.Flush()
}
