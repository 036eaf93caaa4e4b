// Command stream compares event stream hubs: how many events a second they
// deliver to many subscribers, how late, at which cost, and what a connection
// takes. It needs Linux.
//
// The gateway is measured as it is used: signed webhooks come in, are written to
// disk, and go out to streams. Beside it, in the same run, stand a broadcast
// server written by hand that does nothing else (the ceiling), and whatever other
// hub a file given with -peer describes:
//
//	{
//	  "name": "other",
//	  "command": ["/path/to/hub", "run"],
//	  "env": ["LISTEN={{address}}"],
//	  "files": {"config": "listen {{address}}"},
//	  "subscribe": "/events?topic=bench",
//	  "publish": {"path": "/events", "header": {"Content-Type": "application/json"}, "body": "{\"timestamp\":\"{{now}}\"}"}
//	}
//
// {{address}}, {{dir}} and {{now}} are filled in. What is published must come out
// as an event with an id and, somewhere in its data, "timestamp":"<now>".
//
// Publishers keep a window of events under way, so that every hub runs at its own
// full speed and none is driven into dropping what it cannot keep.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type options struct {
	binary   string
	peers    string
	sizes    string
	seconds  float64
	rounds   int
	rate     float64
	window   int
	match    int
	resume   int
	ceiling  string
	readers  int
	keepConn bool
	only     string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "gateway binary (default: built from this tree)")
	flag.StringVar(&o.peers, "peer", "", "files that describe other hubs, comma-separated")
	flag.StringVar(&o.sizes, "subscribers", "1000,5000", "numbers of subscribers")
	flag.Float64Var(&o.seconds, "seconds", 5, "length of each measurement")
	flag.IntVar(&o.rounds, "rounds", 1, "how often to measure; the median is shown")
	flag.Float64Var(&o.rate, "rate", 20, "events a second of the steady measurement")
	flag.IntVar(&o.window, "window", 100, "events under way at full speed")
	flag.IntVar(&o.match, "match", 10000, "streams of which one matches, compared with 10; 0: leave out")
	flag.IntVar(&o.resume, "resume", 100000, "events of a resume; 0: leave out")
	flag.IntVar(&o.readers, "readers", 2, "threads that read the streams")
	flag.BoolVar(&o.keepConn, "handlers", false, "measure the gateway with keep_connections as well")
	flag.StringVar(&o.only, "only", "", "measure only peers of these names, comma-separated")
	flag.StringVar(&o.ceiling, "ceiling", "", "be the hand-written server on this address")
	flag.Parse()
	if o.ceiling != "" {
		fmt.Fprintln(os.Stderr, ceiling(o.ceiling))
		os.Exit(1)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "stream:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	dir, err := os.MkdirTemp(".", "bench-stream-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if o.binary == "" {
		o.binary = filepath.Join(dir, "osa-gateway")
		if err := build(o.binary); err != nil {
			return err
		}
	}
	peers, err := allPeers(o)
	if err != nil {
		return err
	}
	fmt.Printf("%-10s %6s  %12s  %10s  %9s  %9s  %9s  %10s  %10s\n", "hub", "subs",
		"deliveries/s", "CPU µs/del", "MB/s", "p50 ms", "p99 ms", "KiB idle", "KiB after")
	for _, size := range strings.Split(o.sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		results := make(map[string][]result)
		for round := range o.rounds {
			for _, p := range peers {
				r, err := measure(o, p, n, filepath.Join(dir, fmt.Sprintf("%s-%d-%d", p.Name, n, round)))
				if err != nil {
					return fmt.Errorf("%s with %d subscribers: %w", p.Name, n, err)
				}
				results[p.Name] = append(results[p.Name], r)
			}
		}
		for _, p := range peers {
			r := median(results[p.Name])
			fmt.Printf("%-10s %6d  %12.0f  %10.2f  %9.1f  %9.2f  %9.2f  %10.1f  %10.1f\n", p.Name, n,
				r.deliveries, r.cpu, r.bytes/1e6, ms(r.p50), ms(r.p99), r.idle/1024, r.after/1024)
		}
	}
	if o.match > 0 {
		if err := measureMatch(o, dir); err != nil {
			return err
		}
	}
	if o.resume > 0 {
		return measureResume(o, dir)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
