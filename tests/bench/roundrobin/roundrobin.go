// Package roundrobin compares servers by loading one after the other, round after
// round, so that what else the machine does meets all of them alike.
package roundrobin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// settleLimit bounds the wait for what a server does after a round.
const settleLimit = 15 * time.Second

// ErrUnexpectedAnswers: not every request was answered as it should be.
var ErrUnexpectedAnswers = errors.New("not every request was answered as it should be")

// Options of a comparison.
type Options struct {
	// Rounds are how often every server has its turn, Requests how many it gets
	// each time, over so many Connections.
	Rounds, Requests, Connections int
	// Profiles is a directory for CPU and allocation profiles, "" for none;
	// ProfileSeconds is how long the CPU is profiled.
	Profiles       string
	ProfileSeconds int
	// Progress gets a line a round.
	Progress io.Writer
}

// Contender is one server of a comparison.
type Contender struct {
	Name string
	*server.Server
	Target load.Target
	// Source makes n requests.
	Source func(n int) load.Source
	// Stores: its answers say that events were processed, and its metrics how
	// they were committed.
	Stores bool

	rounds []Round
}

// Round is what one server did in one round.
type Round struct {
	PerSecond float64 `json:"requests_per_second"`
	// CPU is the server's, in µs a request, with what it did afterwards; During
	// is the part of it that fell into the round.
	CPU    float64 `json:"cpu_us"`
	During float64 `json:"cpu_us_during"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	// Generator is the generator's CPU, in µs a request.
	Generator float64 `json:"generator_cpu_us"`
	// Batch is how many events the gateway committed at once, Commit what that
	// took in ms.
	Batch  float64 `json:"batch,omitempty"`
	Commit float64 `json:"commit_ms,omitempty"`
}

// Run has the servers take turns.
func Run(ctx context.Context, o Options, contenders []*Contender) ([]Result, error) {
	for _, c := range contenders {
		if _, err := c.Round(ctx, o, max(2000, o.Requests/5), ""); err != nil { // warm up
			return nil, err
		}
	}
	for i := range o.Rounds {
		for _, c := range contenders {
			profile := ""
			if o.Profiles != "" {
				profile = fmt.Sprintf("%s-%d", c.Name, i+1)
			}
			r, err := c.Round(ctx, o, o.Requests, profile)
			if err != nil {
				return nil, err
			}
			c.rounds = append(c.rounds, r)
			if o.Progress != nil {
				fmt.Fprintf(o.Progress, "round %d  %-20s %8.0f/s  %6.1f µs\n", i+1, c.Name, r.PerSecond, r.CPU)
			}
		}
	}
	results := make([]Result, 0, len(contenders))
	for _, c := range contenders {
		m, err := c.Memory()
		if err != nil {
			return nil, err
		}
		results = append(results, Result{Name: c.Name, Rounds: c.rounds, AnonymousMiB: MiB(m.Anonymous), FileMiB: MiB(m.File)})
	}
	return results, nil
}

// Round loads the server once with n requests.
func (c *Contender) Round(ctx context.Context, o Options, n int, profile string) (Round, error) {
	var r Round
	source := c.Source(n)
	before, err := c.Observe(ctx)
	if err != nil {
		return r, err
	}
	profiled := c.profile(ctx, o, profile)
	result, err := load.Run(ctx, load.Options{Target: c.Target, Source: source, Connections: o.Connections, Requests: n})
	if err != nil {
		return r, err
	}
	during, err := c.Observe(ctx)
	if err != nil {
		return r, err
	}
	if err := c.Settle(settleLimit); err != nil {
		return r, err
	}
	after, err := c.CPU()
	if err != nil {
		return r, err
	}
	if err := <-profiled; err != nil {
		return r, fmt.Errorf("profiling: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	if result.Status[200] != n || c.Stores && result.Processed != n {
		return r, fmt.Errorf("%s: %w: %+v", c.Name, ErrUnexpectedAnswers, *result)
	}
	perRequest := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	batch, commit := during.Since(before)
	r = Round{
		Batch: batch, Commit: commit,
		PerSecond: result.PerSecond(), Generator: result.GeneratorMicros(),
		CPU: perRequest(after - before.cpu), During: perRequest(during.cpu - before.cpu),
		P50: Millis(load.Latency(result.Accepted, 50)), P99: Millis(load.Latency(result.Accepted, 99)),
	}
	return r, nil
}

// Millis is a duration in milliseconds.
func Millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// MiB is a size in mebibytes.
func MiB(n int64) float64 { return float64(n) / (1 << 20) }

// Observation is what a server had done at one moment.
type Observation struct {
	cpu                      time.Duration
	commits, events, seconds float64
}

// Since is the mean of the commits since an earlier observation: how many events
// at once, and how long that took in milliseconds.
func (o Observation) Since(earlier Observation) (batch, commit float64) {
	n := o.commits - earlier.commits
	if n <= 0 {
		return 0, 0
	}
	return (o.events - earlier.events) / n, (o.seconds - earlier.seconds) / n * 1000
}

// CPUSince is the CPU time used since an earlier observation.
func (o Observation) CPUSince(earlier Observation) time.Duration { return o.cpu - earlier.cpu }

// Observe looks at the server.
func (c *Contender) Observe(ctx context.Context) (o Observation, err error) {
	if c.Stores {
		m, err := c.Metrics(ctx)
		if err != nil {
			return o, err
		}
		o.commits, o.events = m["osa_log_commit_batch_events_count"], m["osa_log_commit_batch_events_sum"]
		o.seconds = m["osa_log_commit_seconds_sum"]
	}
	o.cpu, err = c.CPU()
	return o, err
}

// profile takes a CPU profile of the server while the round lasts, and an
// allocation profile after it. It tells when it is done.
func (c *Contender) profile(ctx context.Context, o Options, name string) <-chan error {
	done := make(chan error, 1)
	if name == "" {
		done <- nil
		return done
	}
	go func() {
		err := os.MkdirAll(o.Profiles, 0o700)
		for _, kind := range []struct{ name, path string }{
			{"cpu", fmt.Sprintf("/debug/pprof/profile?seconds=%d", o.ProfileSeconds)}, {"allocs", "/debug/pprof/allocs"},
		} {
			var data []byte
			if err == nil {
				data, err = c.Admin(ctx, kind.path)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(o.Profiles, name+"."+kind.name+".pb.gz"), data, 0o600)
			}
		}
		done <- err
	}()
	return done
}
