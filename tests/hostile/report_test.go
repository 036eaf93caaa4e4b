//go:build linux

package hostile

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// answeredWithin is when everything that a good tenant asks is to be answered, at
// the latest. It is no measure of speed: the attackers share the machine. Where
// others take more than half of it, nothing is said but that clients, who give up
// after 30 s, got their answers.
const answeredWithin = 10 * time.Second

// busyElsewhere tells whether other processes took more than half of the machine.
func (r *report) busyElsewhere(phase int) bool {
	return r.cores(phase).others > float64(runtime.NumCPU())/2
}

func (r *report) cores(phase int) cores { return r.watch.began[phase+1].since(r.watch.began[phase]) }

// report is what a run found.
type report struct {
	*arena
	good    *good
	marks   []*mark
	watch   *watch
	rest    load
	settled settled
}

var asked = []string{"webhook", largeWebhook, "list", "event", "health", "stream opened", "stream resumed", "webhook to stream"}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

func ratio(d, base time.Duration) string {
	if base == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(d)/float64(base))
}

// String is the report as tables.
func (r *report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "good tenants\tphase\tn\tfailed\tp50 ms\tp99 ms\tmax ms\tp50 ×\tp99 ×")
	for _, what := range asked {
		base := r.good.figures.spread(before, what)
		for phase, name := range phaseNames {
			s := r.good.figures.spread(phase, what)
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", what, name, s.n, s.failed, ms(s.p50), ms(s.p99), ms(s.most),
				ratio(s.p50, base.p50), ratio(s.p99, base.p99))
		}
	}
	fmt.Fprintln(w, "\ngateway, the most\tanonymous MiB\theap MiB\tdescriptors\tgoroutines")
	row := func(name string, l load) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", name, l.memory>>20, l.heap>>20, l.descriptors, l.goroutines)
	}
	r.watch.mu.Lock()
	for phase, name := range phaseNames {
		row(name, r.watch.most[phase])
	}
	r.watch.mu.Unlock()
	row(fmt.Sprintf("%v later", r.settled.took.Round(100*time.Millisecond)), r.settled.load)
	fmt.Fprintf(w, "\nprocessors kept busy, of %d\tgateway\tthis test\tothers\n", runtime.NumCPU())
	for phase, name := range phaseNames {
		c := r.cores(phase)
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\n", name, c.gateway, c.attackers, c.others)
	}
	fmt.Fprintln(w, "\ntrick\tworkers\tturns\tcut\tnot connected\tMiB sent\tanswers")
	for _, m := range r.marks {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.1f\t%s\n", m.name, m.workers, m.turns.Load(), m.cut.Load(), m.refusedConnections.Load(),
			float64(m.sent.Load())/(1<<20), m.summary())
	}
	fmt.Fprintf(w, "\nacknowledged\tevents\n")
	for _, x := range append([]*tenant{r.hostile}, r.arena.good...) {
		fmt.Fprintf(w, "%s\t%d\n", x.name, x.ledger.count())
	}
	_ = w.Flush()
	return b.String()
}

// judge fails the test for what must not be.
func (r *report) judge(t *testing.T) {
	t.Helper()
	r.good.wrong.report(t)
	for phase, name := range phaseNames {
		for _, what := range asked {
			s := r.good.figures.spread(phase, what)
			if s.n == 0 && (what != largeWebhook || phase == before) {
				t.Errorf("%s: no %s succeeded", name, what)
			}
			if s.most > answeredWithin && !r.busyElsewhere(phase) {
				t.Errorf("%s: a %s took %v", name, what, s.most)
			}
		}
	}
	r.watch.mu.Lock()
	most := r.watch.most[before].max(r.watch.most[during]).max(r.watch.most[after])
	r.watch.mu.Unlock()
	if most.memory > mostMemory {
		t.Errorf("the gateway took %d MiB; its limit is %d MiB, and %d MiB are the bound", most.memory>>20, memoryLimit>>20, mostMemory>>20)
	}
	if most.descriptors > mostDescriptors {
		t.Errorf("the gateway took %d of %d descriptors", most.descriptors, descriptors)
	}
	if !r.settled.ok {
		t.Errorf("%v after the attack %d MiB of heap, %d descriptors and %d goroutines more than before are left",
			r.settled.took.Round(time.Second), r.settled.heap>>20, r.settled.descriptors, r.settled.goroutines)
	}
	for _, m := range r.marks {
		if m.turns.Load() == 0 {
			t.Errorf("the trick %s was never played", m.name)
		}
	}
}
