package soak

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// trend is how a figure went.
type trend struct {
	figure
	early, late, least, most float64
	length                   time.Duration
}

// long runs are judged strictly.
const long = 5 * time.Minute

func (t trend) judged() bool { return t.slack > 0 }

// may is how much it may grow.
func (t trend) may() float64 {
	if t.length < long {
		return t.start
	}
	return max(t.within*t.early, t.slack)
}

// flat tells whether it has not grown by more than it may.
func (t trend) flat() bool { return !t.judged() || t.late-t.early <= t.may() }

// trends compare the median of each figure in the second quarter with that in
// the last one.
func trends(samples []sample, length time.Duration) []trend {
	var out []trend
	for _, f := range figures {
		t := trend{figure: f, length: length}
		var early, late, all []float64
		for _, s := range samples {
			v := s.values[f.name]
			all = append(all, v)
			switch 4 * s.at / length {
			case 1:
				early = append(early, v)
			case 0, 2:
			default:
				late = append(late, v)
			}
		}
		t.early, t.late = median(early), median(late)
		if len(all) > 0 {
			t.least, t.most = slices.Min(all), slices.Max(all)
		}
		out = append(out, t)
	}
	return out
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// table shows trends.
func table(ts []trend) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsecond quarter\tlast quarter\tleast\tmost\tmay grow by\t\t")
	for _, t := range ts {
		verdict, may := "", ""
		show := func(v float64) string { return fmt.Sprintf("%.1f", v) }
		if t.unit == "MiB" {
			show = func(v float64) string { return fmt.Sprintf("%.0f MiB", v/mib) }
		}
		if t.judged() {
			verdict, may = "flat", show(t.may())
			if !t.flat() {
				verdict = "GROWS"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", t.name, show(t.early), show(t.late), show(t.least), show(t.most), may, verdict)
	}
	_ = w.Flush() // to memory
	return out.String()
}

func TestGrowthIsSeen(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   func(second int) float64
		flat bool
	}{
		{"constant", func(int) float64 { return 1000 * mib }, true},
		{"warms up", func(s int) float64 { return float64(min(s, 20)) * 50 * mib }, true},
		{"saws", func(s int) float64 { return float64(1000+s%10*20) * mib }, true},
		{"shrinks", func(s int) float64 { return float64(1000-s) * mib }, true},
		{"leaks", func(s int) float64 { return float64(1000+7*s) * mib }, false},
		{"leaks from nothing", func(s int) float64 { return float64(2*s) * mib }, false},
		{"steps up late", func(s int) float64 { return float64(400+s/70*300) * mib }, false},
	} {
		var samples []sample
		for s := range 100 {
			samples = append(samples, sample{time.Duration(s) * 10 * time.Second, map[string]float64{"rss_anonymous": tt.at(s)}})
		}
		for _, tr := range trends(samples, 1000*time.Second) {
			if tr.name == "rss_anonymous" && tr.flat() != tt.flat {
				t.Errorf("%s: flat is %v: %+v", tt.name, tr.flat(), tr)
			} else if tr.name != "rss_anonymous" && !tr.flat() {
				t.Errorf("%s: %s grows", tt.name, tr.name)
			}
		}
	}
}
