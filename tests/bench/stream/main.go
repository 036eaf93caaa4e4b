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
// {{address}}, {{dir}} and {{now}} are filled in; so are {{site}} and {{tls}}, the
// address of a Caddyfile's site and its tls directive, which is empty where streams
// are measured without TLS. What is published must come out
// as an event with an id and, somewhere in its data, "timestamp":"<now>".
//
// Publishers keep a window of events under way, so that every hub runs at its own
// full speed and none is driven into dropping what it cannot keep.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
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
	asJSON   bool
	over     string
	cpus     string
	// certificate and key are files that servers with TLS use.
	certificate, key string
}

// report is everything that was measured.
type report struct {
	Machine string  `json:"machine"`
	Seconds float64 `json:"seconds"`
	Rounds  int     `json:"rounds"`
	Window  int     `json:"events_under_way"`
	Rate    float64 `json:"steady_events_per_second"`
	Hubs    []row   `json:"hubs"`
	// Match compares an event that concerns one of few streams with one of many.
	Match  []matchPart `json:"match,omitempty"`
	Resume *resumePart `json:"resume,omitempty"`
}

// row is one hub with one number of subscribers.
type row struct {
	Hub         string  `json:"hub"`
	Transport   string  `json:"transport"`
	Subscribers int     `json:"subscribers"`
	Deliveries  float64 `json:"deliveries_per_second"`
	CPU         float64 `json:"cpu_us_per_delivery"`
	MB          float64 `json:"mb_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Idle        float64 `json:"idle_kib_per_connection"`
	After       float64 `json:"after_load_kib_per_connection"`
}

type matchPart struct {
	Streams int     `json:"streams"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	CPU     float64 `json:"cpu_us_per_event"`
}

type resumePart struct {
	Events    int     `json:"events"`
	TookMS    float64 `json:"took_ms"`
	PerSecond float64 `json:"events_per_second"`
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
	flag.StringVar(&o.over, "over", "plain,tls,h2,h2x10", "how streams are carried: plain, tls (HTTP/1.1), h2 (one a connection), h2x10 (ten a connection)")
	flag.StringVar(&o.cpus, "server-cpus", "", "processors of the servers, as taskset takes them; run this program on others")
	flag.IntVar(&o.readers, "readers", 2, "threads that read the streams")
	flag.BoolVar(&o.keepConn, "handlers", false, "measure the gateway with keep_connections as well")
	flag.StringVar(&o.only, "only", "", "measure only peers of these names, comma-separated")
	flag.StringVar(&o.ceiling, "ceiling", "", "be the hand-written server on this address")
	flag.BoolVar(&o.asJSON, "json", false, "print JSON")
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
	if o.certificate, o.key, err = newCertificate(dir); err != nil {
		return err
	}
	peers, err := allPeers(o)
	if err != nil {
		return err
	}
	r := report{Machine: roundrobin.Machine(), Seconds: o.seconds, Rounds: o.rounds, Window: o.window, Rate: o.rate}
	say := func(format string, args ...any) { // as it comes: this takes long
		if !o.asJSON {
			fmt.Printf(format, args...)
		}
	}
	say("\nEvent streams: %d events under way, then %g a second; medians of %d rounds of %g s\n(%s)\n\n", o.window, o.rate, o.rounds, o.seconds, r.Machine)
	say("%-10s %-6s %6s  %12s  %10s  %9s  %9s  %9s  %10s  %10s\n", "hub", "over", "subs",
		"deliveries/s", "CPU µs/del", "MB/s", "p50 ms", "p99 ms", "KiB idle", "KiB after")
	for _, size := range strings.Split(o.sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		for _, over := range strings.Split(o.over, ",") {
			rows, err := compare(o, peers, over, n, dir)
			if err != nil {
				return err
			}
			for _, h := range rows {
				say("%-10s %-6s %6d  %12.0f  %10.2f  %9.1f  %9.2f  %9.2f  %10.1f  %10.1f\n", h.Hub, h.Transport, h.Subscribers,
					h.Deliveries, h.CPU, h.MB, h.P50, h.P99, h.Idle, h.After)
			}
			r.Hubs = append(r.Hubs, rows...)
		}
	}
	if o.match > 0 {
		say("\nan event that concerns one stream\n%10s  %9s  %9s  %14s\n", "streams", "p50 ms", "p99 ms", "CPU µs/event")
		for _, n := range []int{10, o.match} {
			m, err := measureMatch(o, dir, n)
			if err != nil {
				return err
			}
			r.Match = append(r.Match, m)
			say("%10d  %9.2f  %9.2f  %14.1f\n", m.Streams, m.P50, m.P99, m.CPU)
		}
	}
	if o.resume > 0 {
		m, err := measureResume(o, dir)
		if err != nil {
			return err
		}
		r.Resume = &m
		say("\na resume of %d events: %.0f ms, %.0f events a second\n", m.Events, m.TookMS, m.PerSecond)
	}
	if !o.asJSON {
		return nil
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// compare measures the peers in turns.
func compare(o options, peers []*peer, name string, n int, dir string) (rows []row, err error) {
	over, ok := transports[name]
	if !ok {
		return nil, fmt.Errorf("-over %q: want plain, tls, h2 or h2x10", name)
	}
	results := make(map[string][]result)
	for round := range o.rounds {
		for _, p := range peers {
			if over.tls && p.plainOnly {
				continue
			}
			one, err := measure(o, p, over, n, filepath.Join(dir, fmt.Sprintf("%s-%s-%d-%d", p.Name, name, n, round)))
			if err != nil {
				return nil, fmt.Errorf("%s over %s with %d subscribers: %w", p.Name, name, n, err)
			}
			results[p.Name] = append(results[p.Name], one)
		}
	}
	for _, p := range peers {
		if len(results[p.Name]) == 0 {
			continue
		}
		m := median(results[p.Name])
		rows = append(rows, row{p.Name, name, n, m.deliveries, m.cpu, m.bytes / 1e6, ms(m.p50), ms(m.p99), m.idle / 1024, m.after / 1024})
	}
	return rows, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
