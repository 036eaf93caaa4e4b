package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// What is wanted.
const (
	leastOfDisk = 0.25 // of the disk's own synced writes
	mostSlower  = 10   // times the median of what it is alone
)

// report is everything that was measured.
type report struct {
	Machine     string    `json:"machine"`
	Size        int       `json:"body_bytes"`
	Connections int       `json:"connections"`
	Rounds      []round   `json:"rounds"`
	Beside      []besides `json:"beside"`
}

// round is one turn of the disk and the gateway.
type round struct {
	Disk    float64 `json:"disk_writes_per_second"`
	Bodies  float64 `json:"bodies_per_second"`
	Refused int     `json:"refused_503"`
	// CPU is the gateway's, a body, with the other workspace's webhooks in it.
	CPU float64 `json:"cpu_ms"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// besides is what other work cost the small webhooks.
type besides struct {
	Work      string  `json:"work"`
	Done      float64 `json:"done"`
	Unit      string  `json:"unit"`
	Alone     latency `json:"alone"`
	Meanwhile latency `json:"meanwhile"`
}

// latency of small webhooks, from when each was due, in milliseconds.
type latency struct {
	Accepted int     `json:"accepted"`
	Refused  int     `json:"refused_503"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

func median(rounds []round, of func(round) float64) float64 {
	var v []float64
	for _, r := range rounds {
		v = append(v, of(r))
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// ofDisk is the gateway's median by the disk's.
func (r *report) ofDisk() float64 {
	disk := median(r.Rounds, func(r round) float64 { return r.Disk })
	if disk == 0 {
		return 0
	}
	return median(r.Rounds, func(r round) float64 { return r.Bodies }) / disk
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\nBodies of %d bytes on %d connections beside the disk's synced writes of that size (%s)\n\n", r.Size, r.Connections, r.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "disk/s\tbodies/s\tratio\t503\tCPU ms a body\tp50 ms\tp99 ms\t")
	for _, x := range r.Rounds {
		fmt.Fprintf(w, "%.1f\t%.1f\t%.2f\t%d\t%.1f\t%.1f\t%.1f\t\n", x.Disk, x.Bodies, x.Bodies/x.Disk, x.Refused, x.CPU, x.P50, x.P99)
	}
	_ = w.Flush()
	fmt.Fprintf(out, "medians: %.2f of the disk%s\n", r.ofDisk(), missed(r.ofDisk() < leastOfDisk, ">= %g", leastOfDisk))
	fmt.Fprintf(out, "\nAnother workspace's small webhooks, alone and beside other work\n\n")
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "beside\tdone\t\talone p50 ms\tp99\tmeanwhile p50 ms\tp99\tmax\t503\ttimes the median\t")
	for _, x := range r.Beside {
		times := x.Meanwhile.P50 / x.Alone.P50
		fmt.Fprintf(w, "%s\t%.1f\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d of %d\t%.1f%s\t\n", x.Work, x.Done, x.Unit, x.Alone.P50, x.Alone.P99,
			x.Meanwhile.P50, x.Meanwhile.P99, x.Meanwhile.Max, x.Meanwhile.Refused, x.Meanwhile.Refused+x.Meanwhile.Accepted,
			times, missed(times >= mostSlower, "< %g", mostSlower))
	}
	_ = w.Flush()
}

func missed(is bool, want string, value float64) string {
	if !is {
		return ""
	}
	return fmt.Sprintf("  MISSED: "+want+" is wanted", value)
}
