package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

// What the design asks for.
const (
	mostRead     = 10.0  // ms: "single-digit"
	mostStart    = 3000. // ms
	mostExit     = 5.0   // s
	mostResident = 256.0 // MiB
	mostOpen     = 200.0 // descriptors
	mostKept     = 770.0 // bytes an event
	mostWritten  = 4.0   // bytes a byte received
	mostBackup   = 2.0   // times what cp takes
)

// report is everything that was measured.
type report struct {
	Machine string   `json:"machine"`
	Events  int      `json:"events"`
	Figures []figure `json:"figures"`
}

// figure is one number.
type figure struct {
	What  string  `json:"what"`
	Of    string  `json:"of"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	// Target is the most that the design allows, 0 where it says nothing.
	Target float64 `json:"target,omitempty"`
}

func (r *report) add(what, of string, value float64, unit string, target float64) {
	r.Figures = append(r.Figures, figure{what, of, value, unit, target})
}

// quantiles adds the middle, the 99th percentile and the most. The most of many
// says more of the machine than of the gateway, so it has no target.
func (r *report) quantiles(what string, took []time.Duration, target float64) {
	r.add(what, "p50", quantile(took, 0.5), "ms", target)
	if len(took) >= 100 {
		r.add(what, "p99", quantile(took, 0.99), "ms", target)
		target = 0
	}
	r.add(what, "most", quantile(took, 1), "ms", target)
}

func (r *report) latencies(what string, l *load.Result) {
	r.add(what, "p50", roundrobin.Millis(load.Latency(l.Accepted, 50)), "ms", 0)
	r.add(what, "p99", roundrobin.Millis(load.Latency(l.Accepted, 99)), "ms", 0)
	r.add(what, "most", float64(l.Accepted.Max())/1000, "ms", 0)
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\nA log of %d events (%s)\n\n", r.Events, r.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\t\tmeasured\tdesign\t")
	last := ""
	for _, f := range r.Figures {
		what, target := f.What, ""
		if what == last {
			what = ""
		}
		last = f.What
		if f.Target > 0 {
			target = fmt.Sprintf("<= %g %s", f.Target, f.Unit)
			if f.Value > f.Target {
				target += "  MISSED"
			}
		}
		format := "%.1f"
		switch {
		case f.Value >= 1000:
			format = "%.0f"
		case f.Value < 10:
			format = "%.2f"
		}
		fmt.Fprintf(w, "%s\t%s\t"+format+" %s\t%s\t\n", what, f.Of, f.Value, f.Unit, target)
	}
	_ = w.Flush()
}
