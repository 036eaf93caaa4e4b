package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

// latencies measures one connection that sends one webhook after the other, to
// the gateway and to its peer in turns.
func (b *bench) latencies(ctx context.Context) (results []roundrobin.Result, err error) {
	builds := []struct{ name, binary string }{{"gateway", b.Binary}}
	if b.peer != "" {
		peer, err := filepath.Abs(b.peer)
		if err != nil {
			return nil, err
		}
		builds = append(builds, struct{ name, binary string }{"peer", peer})
	}
	var servers []*roundrobin.Contender
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, build := range builds {
		s, err := b.start(build.name+"-latency", build.binary, keeping, true)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	o := b.Options
	o.Connections, o.Requests, o.Profiles = 1, b.latencyRequests, ""
	return roundrobin.Run(ctx, o, servers)
}

func printLatencies(out io.Writer, results []roundrobin.Result) {
	if len(results) == 0 {
		return
	}
	fmt.Fprintf(out, "\nOne connection; medians of the rounds\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\trequests/s\tp50 ms\tp99 ms\tCPU µs\tcommit ms\t")
	p50 := func(r roundrobin.Round) float64 { return r.P50 }
	p99 := func(r roundrobin.Round) float64 { return r.P99 }
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%.0f\t%.3f\t%.3f\t%.1f\t%.3f\t\n", r.Name, r.Median(roundrobin.PerSecond), r.Median(p50), r.Median(p99),
			r.Median(roundrobin.CPU), r.Median(func(r roundrobin.Round) float64 { return r.Commit }))
	}
	_ = w.Flush()
	if len(results) == 2 {
		fmt.Fprintf(out, "\n%s / %s: %.2f at the median, %.2f at p99\n", results[0].Name, results[1].Name,
			results[0].Median(p50)/results[1].Median(p50), results[0].Median(p99)/results[1].Median(p99))
	}
}
