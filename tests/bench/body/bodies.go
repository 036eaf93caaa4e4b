package main

import (
	"context"
	"fmt"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// bodyRounds have the disk and the gateway take turns.
func (b *bench) bodyRounds(ctx context.Context, s *server.Server) error {
	for i := range b.Rounds {
		b.progress("round %d: the disk", i+1)
		disk, err := b.disk(ctx)
		if err != nil {
			return fmt.Errorf("the disk: %w", err)
		}
		b.progress("round %d: bodies of %d bytes", i+1, b.size)
		target := b.target(s, b.large)
		// Made beforehand: they cost more than a small webhook does the gateway.
		source := load.Prepare(target, b.bodies(b.size), b.Requests)
		r := round{Disk: disk}
		err = b.beside(ctx, s, fmt.Sprintf("bodies of %d bytes", b.size), "bodies a second", func(ctx context.Context) (float64, error) {
			before, err := s.CPU()
			if err != nil {
				return 0, err
			}
			got, err := load.Run(ctx, load.Options{Target: target, Source: source, Connections: b.Connections, Patience: time.Minute})
			if err != nil {
				return 0, err
			}
			after, err := s.CPU()
			if err != nil {
				return 0, err
			}
			if got.Processed == 0 || got.Requests != got.Processed+got.Status[503] {
				return 0, fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *got)
			}
			r.Bodies, r.Refused = float64(got.Processed)/got.Elapsed.Seconds(), got.Status[503]
			r.CPU = roundrobin.Millis(after-before) / float64(got.Processed)
			r.P50, r.P99 = roundrobin.Millis(load.Latency(got.Accepted, 50)), roundrobin.Millis(load.Latency(got.Accepted, 99))
			return r.Bodies, nil
		})
		if err != nil {
			return err
		}
		b.report.Rounds = append(b.report.Rounds, r)
		if err := s.Settle(time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// beside runs other work and meanwhile sends the other workspace's webhooks,
// which it has sent alone just before.
func (b *bench) beside(ctx context.Context, s *server.Server, name, unit string, work func(context.Context) (float64, error)) error {
	alone, err := b.probe(ctx, s, min(b.length(), 3*time.Second))
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	var done float64
	go func() {
		defer stop()
		var err error
		done, err = work(working)
		ended <- err
	}()
	meanwhile, err := b.probe(working, s, time.Hour)
	if workErr := <-ended; workErr != nil {
		return fmt.Errorf("%s: %w", name, workErr)
	}
	if err != nil {
		return fmt.Errorf("webhooks beside %s: %w", name, err)
	}
	b.report.Beside = append(b.report.Beside, besides{Work: name, Done: done, Unit: unit, Alone: alone, Meanwhile: meanwhile})
	return ctx.Err()
}

// probe sends small webhooks at a fixed rate, for so long or until ctx ends.
func (b *bench) probe(ctx context.Context, s *server.Server, length time.Duration) (latency, error) {
	target := b.target(s, b.small)
	r, err := load.Run(ctx, load.Options{
		Target: target, Source: load.NewLive(target, b.bodies(0)), Connections: 64, Rate: b.rate, Duration: length, Patience: time.Minute,
	})
	if err != nil {
		return latency{}, err
	}
	if r.Requests != r.Processed+r.Status[503] || r.Errors > 0 {
		return latency{}, fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *r)
	}
	return latency{
		Accepted: r.Processed, Refused: r.Status[503],
		P50: roundrobin.Millis(load.Latency(r.Accepted, 50)), P99: roundrobin.Millis(load.Latency(r.Accepted, 99)), Max: float64(r.Accepted.Max()) / 1000,
	}, nil
}
