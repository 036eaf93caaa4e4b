package roundrobin

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Result is what was measured of one server.
type Result struct {
	Name   string  `json:"name"`
	Rounds []Round `json:"rounds"`
	// AnonymousMiB is what the server allocated, FileMiB what it mapped.
	AnonymousMiB float64 `json:"memory_anonymous_mib"`
	FileMiB      float64 `json:"memory_file_mib"`
}

// of is the least, the middle and the greatest of a figure.
func (r *Result) of(figure func(Round) float64) (least, middle, greatest float64) {
	values := make([]float64, 0, len(r.Rounds))
	for _, round := range r.Rounds {
		values = append(values, figure(round))
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0, 0, 0
	}
	return values[0], (values[n/2] + values[(n-1)/2]) / 2, values[n-1]
}

// Median is the middle of a figure over the rounds.
func (r *Result) Median(figure func(Round) float64) float64 {
	_, m, _ := r.of(figure)
	return m
}

// PerSecond returns the requests a second of a round.
func PerSecond(r Round) float64 { return r.PerSecond }

// CPU returns the CPU time of a request in a round.
func CPU(r Round) float64 { return r.CPU }

// Ratio is one server's median by another's: of requests a second, and of what a
// microsecond of CPU does.
type Ratio struct {
	Server     string  `json:"server"`
	Peer       string  `json:"peer"`
	Throughput float64 `json:"throughput"`
	CPU        float64 `json:"cpu"`
}

// Compare is the ratio of a to b.
func Compare(a, b *Result) Ratio {
	return Ratio{
		Server: a.Name, Peer: b.Name,
		Throughput: a.Median(PerSecond) / b.Median(PerSecond),
		CPU:        b.Median(CPU) / a.Median(CPU),
	}
}

// Print prints results as a table, and the ratios.
func Print(out io.Writer, results []Result, ratios []Ratio) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\trequests/s\tmin\tmax\tCPU µs\tmin\tmax\tafter the round\tp50 ms\tp99 ms\tgenerator µs\tbatch\tcommit ms\tMiB\t+ mapped\t")
	for _, r := range results {
		least, middle, greatest := r.of(PerSecond)
		cpuLeast, cpuMiddle, cpuGreatest := r.of(CPU)
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.1f\t%s\t%s\t%.0f\t%.0f\t\n",
			r.Name, middle, least, greatest, cpuMiddle, cpuLeast, cpuGreatest,
			r.Median(func(r Round) float64 { return r.CPU - r.During }),
			r.Median(func(r Round) float64 { return r.P50 }), r.Median(func(r Round) float64 { return r.P99 }),
			r.Median(func(r Round) float64 { return r.Generator }),
			orDash("%.1f", r.Median(func(r Round) float64 { return r.Batch })),
			orDash("%.2f", r.Median(func(r Round) float64 { return r.Commit })),
			r.AnonymousMiB, r.FileMiB)
	}
	_ = w.Flush()
	fmt.Fprintln(out)
	for _, x := range ratios {
		fmt.Fprintf(out, "%s / %s: %.2f by requests a second, %.2f by CPU a request\n", x.Server, x.Peer, x.Throughput, x.CPU)
	}
}

func orDash(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
