package faults

import (
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// perStore is how many faults one store goes through: every check reads all of it.
const perStore = 25

// TestFaults: nothing that was acknowledged is lost, doubled or out of order,
// and indexes and streams agree with the log, after each of many faults.
func TestFaults(t *testing.T) {
	rng := random(t)
	faults := plan(rng, faultCount(t, 14))
	for len(faults) > 0 {
		n := min(perStore, len(faults))
		r := newRun(t, rng, gateway.Options{})
		for _, f := range faults[:n] {
			r.under(f.name, func() { f.do(r) })
			r.g.TruncateLog()
		}
		r.close()
		faults = faults[n:]
		t.Logf("%d to go", len(faults))
	}
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
