// Command load sends signed events to a gateway and prints how they were
// answered. The secret is read from OSA_WEBHOOK_SHARED_SECRET:
//
//	. DIR/dev.env
//	go run ./tests/bench/cmd/load -address localhost:3000 -requests 100000
//	go run ./tests/bench/cmd/load -address localhost:3000 -rate 5000 -duration 1m
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // nothing is left to clean up
	}
}

func run(ctx context.Context) error {
	var (
		target load.Target
		o      load.Options
		body   = flag.Int("body", load.DefaultBodySize, "bytes of a body")
		live   = flag.Bool("live", false, "sign while sending instead of before: for runs of more than a few minutes")
		asJSON = flag.Bool("json", false, "print JSON")
	)
	flag.StringVar(&target.Address, "address", "localhost:3000", "host and port of the gateway; plain HTTP")
	flag.StringVar(&target.Path, "path", "/api/webhooks/opal-workflow", "path of the receiver")
	flag.IntVar(&o.Connections, "connections", 64, "connections")
	flag.Float64Var(&o.Rate, "rate", 0, "requests a second (open loop); 0 sends as fast as answers come (closed loop)")
	flag.IntVar(&o.Requests, "requests", 0, "end after so many")
	flag.DurationVar(&o.Duration, "duration", 0, "end after so long")
	flag.Parse()
	target.Secret = os.Getenv("OSA_WEBHOOK_SHARED_SECRET")
	if target.Secret == "" {
		return errors.New("set OSA_WEBHOOK_SHARED_SECRET to the secret that the gateway verifies with")
	}
	o.Target = target
	events := load.NewEvents(*body, uint64(time.Now().UnixNano()>>20)&0xffffffff)
	switch {
	case *live:
		o.Source = load.NewLive(target, events)
	case o.Requests > 0:
		o.Source = load.Prepare(target, events, o.Requests)
	case o.Rate > 0 && o.Duration > 0:
		o.Source = load.Prepare(target, events, int(o.Rate*o.Duration.Seconds())+1)
	default:
		return errors.New("say how many with -requests, or both -rate and -duration, or -live")
	}
	r, err := load.Run(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(summary(r))
	}
	print(r)
	return nil
}

var quantiles = []float64{50, 90, 99, 99.9, 100}

func print(r *load.Result) {
	fmt.Printf("%d answers in %.2f s: %.0f a second\n", r.Requests, r.Elapsed.Seconds(), r.PerSecond())
	statuses := make([]int, 0, len(r.Status))
	for s := range r.Status {
		statuses = append(statuses, s)
	}
	slices.Sort(statuses)
	for _, s := range statuses {
		fmt.Printf("  %d: %d\n", s, r.Status[s])
	}
	fmt.Printf("  processed %d, duplicate %d, with Retry-After %d, errors %d, unanswered %d, unsent %d\n",
		r.Processed, r.Duplicate, r.RetryAfter, r.Errors, r.Unanswered, r.Unsent)
	if r.FirstError != "" {
		fmt.Printf("  first error: %s\n", r.FirstError)
	}
	for _, h := range []struct {
		name string
		*hdrhistogram.Histogram
	}{{"accepted", r.Accepted}, {"refused", r.Refused}} {
		if h.TotalCount() == 0 {
			continue
		}
		fmt.Printf("%s:", h.name)
		for _, q := range quantiles {
			fmt.Printf("  p%g %v", q, load.Latency(h.Histogram, q))
		}
		fmt.Println()
	}
	fmt.Printf("the generator took %.1f µs of CPU a request\n", r.GeneratorMicros())
}

func summary(r *load.Result) map[string]any {
	out := map[string]any{
		"requests": r.Requests, "seconds": r.Elapsed.Seconds(), "requests_per_second": r.PerSecond(), "status": r.Status,
		"processed": r.Processed, "duplicate": r.Duplicate, "retry_after": r.RetryAfter, "errors": r.Errors,
		"unanswered": r.Unanswered, "unsent": r.Unsent, "generator_cpu_us": r.GeneratorMicros(),
	}
	for _, h := range []struct {
		name string
		*hdrhistogram.Histogram
	}{{"accepted_us", r.Accepted}, {"refused_us", r.Refused}} {
		values := map[string]int64{}
		for _, q := range quantiles {
			values[fmt.Sprintf("p%g", q)] = h.ValueAtQuantile(q)
		}
		out[h.name] = values
	}
	return out
}
