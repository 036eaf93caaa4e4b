package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// report is everything that was measured.
type report struct {
	Machine     string        `json:"machine"`
	Connections int           `json:"connections"`
	Requests    int           `json:"requests_a_round"`
	BodySize    int           `json:"body_bytes"`
	Peers       []peerReport  `json:"servers"`
	Ratios      []ratio       `json:"ratios"`
	Overload    *overloadPart `json:"overload,omitempty"`
}

type peerReport struct {
	Name   string  `json:"name"`
	Rounds []round `json:"rounds"`
	// AnonymousMiB is what the server allocated, FileMiB what it mapped.
	AnonymousMiB float64 `json:"memory_anonymous_mib"`
	FileMiB      float64 `json:"memory_file_mib"`
}

// ratio is the gateway's median by a peer's: of requests a second, and of what a
// microsecond of CPU does.
type ratio struct {
	Gateway    string  `json:"gateway"`
	Peer       string  `json:"peer"`
	Throughput float64 `json:"throughput"`
	CPU        float64 `json:"cpu"`
}

func (r *report) add(p *peer, m server.Memory) {
	r.Peers = append(r.Peers, peerReport{
		Name: p.Name, Rounds: p.rounds, AnonymousMiB: mib(m.Anonymous), FileMiB: mib(m.File),
	})
	if !p.stores {
		return
	}
	last := len(r.Peers) - 1
	for _, other := range r.Peers[:last] {
		r.Ratios = append(r.Ratios, ratio{
			Gateway: p.Name, Peer: other.Name,
			Throughput: r.Peers[last].median(perSecond) / other.median(perSecond),
			CPU:        other.median(cpu) / r.Peers[last].median(cpu),
		})
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func perSecond(r round) float64 { return r.PerSecond }
func cpu(r round) float64       { return r.CPU }

// of is the least, the middle and the greatest of a figure.
func (p *peerReport) of(figure func(round) float64) (least, middle, greatest float64) {
	values := make([]float64, 0, len(p.Rounds))
	for _, r := range p.Rounds {
		values = append(values, figure(r))
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0, 0, 0
	}
	return values[0], (values[n/2] + values[(n-1)/2]) / 2, values[n-1]
}

func (p *peerReport) median(figure func(round) float64) float64 {
	_, m, _ := p.of(figure)
	return m
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\nDurable webhook against plain Caddy: %d connections, bodies of %d bytes, %d requests a round\n(%s)\n\n",
		r.Connections, r.BodySize, r.Requests, r.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\trequests/s\tmin\tmax\tCPU µs\tmin\tmax\tafter the round\tp50 ms\tp99 ms\tgenerator µs\tbatch\tcommit ms\tMiB\t+ mapped\t")
	for _, p := range r.Peers {
		least, middle, greatest := p.of(perSecond)
		cpuLeast, cpuMiddle, cpuGreatest := p.of(cpu)
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.1f\t%s\t%s\t%.0f\t%.0f\t\n",
			p.Name, middle, least, greatest, cpuMiddle, cpuLeast, cpuGreatest,
			p.median(func(r round) float64 { return r.CPU - r.During }),
			p.median(func(r round) float64 { return r.P50 }), p.median(func(r round) float64 { return r.P99 }),
			p.median(func(r round) float64 { return r.Generator }),
			orDash("%.1f", p.median(func(r round) float64 { return r.Batch })),
			orDash("%.2f", p.median(func(r round) float64 { return r.Commit })),
			p.AnonymousMiB, p.FileMiB)
	}
	_ = w.Flush()
	fmt.Fprintln(out)
	for _, x := range r.Ratios {
		fmt.Fprintf(out, "%s / %s: %.2f by requests a second, %.2f by CPU a request\n", x.Gateway, x.Peer, x.Throughput, x.CPU)
	}
	if r.Overload != nil {
		r.Overload.print(out)
	}
}

func orDash(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
