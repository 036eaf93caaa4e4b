package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
)

// settleLimit bounds the wait for what a server does after a round.
const settleLimit = 15 * time.Second

// round is what one server did in one round.
type round struct {
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

// compare runs the servers in turns.
func (b *bench) compare(ctx context.Context, out *report) (err error) {
	var peers []*peer
	defer func() {
		for _, p := range peers {
			err = errors.Join(err, p.Stop())
		}
	}()
	type candidate struct {
		name, binary, caddyfile string
		stores                  bool
	}
	candidates := []candidate{
		{"caddy-respond", b.binary, discarding, false},
		{"caddy-read-respond", b.binary, reading, false},
		{"gateway", b.binary, gateway, true},
	}
	for _, o := range b.others {
		candidates = append(candidates, candidate{o.name, o.binary, gateway, true})
	}
	for _, p := range candidates {
		started, err := b.start(p.name, p.binary, p.caddyfile, p.stores)
		if err != nil {
			return fmt.Errorf("starting %s: %w", p.name, err)
		}
		peers = append(peers, started)
	}
	for _, p := range peers { // warm up
		if _, err := b.round(ctx, p, max(2000, b.requests/5), ""); err != nil {
			return err
		}
	}
	for i := range b.rounds {
		for _, p := range peers {
			profile := ""
			if b.profiles != "" {
				profile = fmt.Sprintf("%s-%d", p.Name, i+1)
			}
			r, err := b.round(ctx, p, b.requests, profile)
			if err != nil {
				return err
			}
			p.rounds = append(p.rounds, r)
			fmt.Fprintf(os.Stderr, "round %d  %-20s %8.0f/s  %6.1f µs\n", i+1, p.Name, r.PerSecond, r.CPU)
		}
	}
	for _, p := range peers {
		mem, err := p.Memory()
		if err != nil {
			return err
		}
		out.add(p, mem)
	}
	return nil
}

func (b *bench) round(ctx context.Context, p *peer, n int, profile string) (round, error) {
	var r round
	source := load.Prepare(p.target, b.events(), n)
	before, err := b.observe(ctx, p)
	if err != nil {
		return r, err
	}
	profiled := b.profile(ctx, p, profile)
	result, err := load.Run(ctx, load.Options{Target: p.target, Source: source, Connections: b.connections, Requests: n})
	if err != nil {
		return r, err
	}
	during, err := b.observe(ctx, p)
	if err != nil {
		return r, err
	}
	if err := p.Settle(settleLimit); err != nil {
		return r, err
	}
	after, err := p.CPU()
	if err != nil {
		return r, err
	}
	if err := <-profiled; err != nil {
		return r, fmt.Errorf("profiling: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	if result.Status[200] != n || p.stores && result.Processed != n {
		return r, fmt.Errorf("%s: %w: %+v", p.Name, errAnswers, *result)
	}
	perRequest := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	r = round{
		PerSecond: result.PerSecond(), Generator: result.GeneratorMicros(),
		CPU: perRequest(after - before.cpu), During: perRequest(during.cpu - before.cpu),
		P50: millis(load.Latency(result.Accepted, 50)), P99: millis(load.Latency(result.Accepted, 99)),
	}
	if commits := during.commits - before.commits; commits > 0 {
		r.Batch = (during.events - before.events) / commits
		r.Commit = (during.seconds - before.seconds) / commits * 1000
	}
	return r, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// events are bodies that no server has seen.
func (b *bench) events() *load.Events {
	b.seed++
	return load.NewEvents(b.bodySize, b.seed)
}

// observation of a server at one moment.
type observation struct {
	cpu                      time.Duration
	commits, events, seconds float64
}

func (b *bench) observe(ctx context.Context, p *peer) (o observation, err error) {
	if p.stores {
		m, err := p.Metrics(ctx)
		if err != nil {
			return o, err
		}
		o.commits, o.events = m["osa_log_commit_batch_events_count"], m["osa_log_commit_batch_events_sum"]
		o.seconds = m["osa_log_commit_seconds_sum"]
	}
	o.cpu, err = p.CPU()
	return o, err
}

// profile takes a CPU profile of the server while the round lasts, and an
// allocation profile after it. It tells when it is done.
func (b *bench) profile(ctx context.Context, p *peer, name string) <-chan error {
	done := make(chan error, 1)
	if name == "" {
		done <- nil
		return done
	}
	go func() {
		err := os.MkdirAll(b.profiles, 0o700)
		for _, kind := range []struct{ name, path string }{
			{"cpu", fmt.Sprintf("/debug/pprof/profile?seconds=%d", b.profileSeconds)}, {"allocs", "/debug/pprof/allocs"},
		} {
			var data []byte
			if err == nil {
				data, err = p.Admin(ctx, kind.path)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(b.profiles, name+"."+kind.name+".pb.gz"), data, 0o600)
			}
		}
		done <- err
	}()
	return done
}
