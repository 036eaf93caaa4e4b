package roundrobin

import (
	"bytes"
	"strings"
	"testing"
)

func rounds(perSecond ...float64) []Round {
	var out []Round
	for _, v := range perSecond {
		out = append(out, Round{PerSecond: v, CPU: 1e6 / v})
	}
	return out
}

func TestMedianAndRatio(t *testing.T) {
	a := &Result{Name: "a", Rounds: rounds(100, 300, 200)}
	b := &Result{Name: "b", Rounds: rounds(400, 100, 600, 400)}
	if least, middle, greatest := a.of(PerSecond); least != 100 || middle != 200 || greatest != 300 {
		t.Errorf("of three: %v %v %v", least, middle, greatest)
	}
	if m := b.Median(PerSecond); m != 400 {
		t.Errorf("of four: %v", m)
	}
	if r := Compare(a, b); r.Throughput != 0.5 || r.CPU != 0.5 {
		t.Errorf("%+v", r)
	}
	if m := (&Result{}).Median(CPU); m != 0 {
		t.Errorf("of none: %v", m)
	}
	var out bytes.Buffer
	Print(&out, []Result{*a, *b}, []Ratio{Compare(a, b)})
	if lines := strings.Count(out.String(), "\n"); lines != 5 || !strings.Contains(out.String(), "a / b: 0.50 by requests a second") {
		t.Errorf("printed\n%s", out.String())
	}
}
