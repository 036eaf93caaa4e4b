package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
	"github.com/osa-edge/osa-gateway/tests/prefilled"
)

// What arrives while retention works, and how long it may work.
const (
	pruneRate  = 500
	pruneLimit = 10 * time.Minute
)

// retention starts a gateway on a log of which nine tenths have just expired,
// sends webhooks meanwhile, and looks at the disk.
func (b *bench) retention(ctx context.Context) (err error) {
	const day = 24 * time.Hour // the shortest retention there is
	expired := b.n / 10 * 9
	bodies := b.events()
	for _, part := range []struct {
		n  int
		at time.Duration // how long ago
	}{{expired, 2 * day}, {b.n - expired, day / 2}} {
		err := prefilled.Fill(ctx, prefilled.Options{
			Dir: b.store(expiring), Events: part.n, First: time.Now().Add(-part.at), Every: time.Millisecond,
			Body: bodies.Append, Workspace: workspace, Batch: b.Connections, Ballast: 1 << 20,
		})
		if err != nil {
			return err
		}
	}
	before, err := diskUsed(b.store(expiring))
	if err != nil {
		return err
	}
	s, err := b.start(expiring, "BENCH_RETENTION=24h")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	pruning, stop := context.WithCancel(ctx)
	defer stop()
	took := make(chan error, 1)
	begin := time.Now()
	var pruned time.Duration
	var cpu time.Duration
	go func() {
		defer stop()
		err := b.awaitPruned(ctx, s, expired)
		pruned = time.Since(begin)
		if err == nil {
			cpu, err = s.CPU()
		}
		took <- err
	}()
	during, err := b.steady(pruning, s, pruneLimit)
	if err := errors.Join(err, <-took); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.report.add("retention of nine tenths", "events a second", float64(expired)/pruned.Seconds(), "", 0)
	b.report.add("retention of nine tenths", "took", pruned.Seconds(), "s", 0)
	b.report.add("retention of nine tenths", "CPU with the start and webhooks", cpu.Seconds(), "s", 0)
	if during.Accepted.TotalCount() > 0 {
		b.report.latencies(fmt.Sprintf("webhooks meanwhile, %d/s", pruneRate), during)
	}
	b.report.add("disk before retention", "store", roundrobin.MiB(before), "MiB", 0)
	settling := time.Now()
	if err := b.afterRetention("right after"); err != nil {
		return err
	}
	if err := s.Settle(settleLimit); err != nil {
		return err
	}
	b.report.add("retention of nine tenths", "compacting afterwards", time.Since(settling).Seconds(), "s", 0)
	if err := b.afterRetention("when settled"); err != nil {
		return err
	}
	// What comes in later has compaction go on.
	later, err := b.steady(ctx, s, min(20*time.Second, time.Duration(b.n)*20*time.Microsecond))
	if err != nil {
		return err
	}
	b.report.latencies(fmt.Sprintf("webhooks afterwards, %d/s", pruneRate), later)
	target := b.target(s)
	n := b.n / 10
	r, err := load.Run(ctx, load.Options{Target: target, Source: load.NewLive(target, b.events()), Connections: b.Connections, Requests: n})
	if err != nil {
		return err
	}
	if r.Processed != n {
		return fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *r)
	}
	if err := s.Settle(settleLimit); err != nil {
		return err
	}
	if err := b.afterRetention(fmt.Sprintf("after %d more events", n)); err != nil {
		return err
	}
	return b.memory(s, "after retention")
}

func (b *bench) afterRetention(when string) error {
	used, err := diskUsed(b.store(expiring))
	if err != nil {
		return err
	}
	b.report.add("disk after retention", when, roundrobin.MiB(used), "MiB", 0)
	return nil
}

// steady sends webhooks at a fixed rate, for so long or until ctx ends.
func (b *bench) steady(ctx context.Context, s *server.Server, length time.Duration) (*load.Result, error) {
	target := b.target(s)
	r, err := load.Run(ctx, load.Options{
		Target: target, Source: load.NewLive(target, b.events()), Connections: b.Connections, Rate: pruneRate, Duration: length,
	})
	// A machine that is too slow for the rate may refuse some.
	if err == nil && r.Requests != r.Processed+r.Status[503] {
		err = fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *r)
	}
	return r, err
}

// awaitPruned waits until retention has forgotten n events.
func (b *bench) awaitPruned(ctx context.Context, s *server.Server, n int) error {
	ctx, cancel := context.WithTimeout(ctx, pruneLimit)
	defer cancel()
	for {
		m, err := s.Metrics(ctx)
		if err != nil {
			return err
		}
		if got := m["osa_log_events_pruned_total"]; got >= float64(n) {
			return nil
		} else if err := wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%.0f of %d events went: %w", got, n, err)
		}
	}
}
