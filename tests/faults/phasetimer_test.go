package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// phaseTimes is where the time goes, by what was being done.
var phaseTimes = make(map[string]time.Duration)

// startPhase says what begins now, and with it what has ended; "" for nothing.
func (r *run) startPhase(what, phase string) {
	now := time.Now()
	if r.phase != "" {
		phaseTimes[r.phase] += now.Sub(r.since)
	}
	if phase == "fault" {
		phase = what
	}
	r.phase, r.since = phase, now
}

// phaseSummary is a line for it.
func phaseSummary() string {
	names := slices.SortedFunc(maps.Keys(phaseTimes), func(a, b string) int { return int(phaseTimes[b] - phaseTimes[a]) })
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = fmt.Sprintf("%s %v", n, phaseTimes[n].Round(10*time.Millisecond))
	}
	return strings.Join(parts, ", ")
}
