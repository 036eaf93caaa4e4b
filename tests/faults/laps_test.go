package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// spent is where the time goes, by what was being done.
var spent = make(map[string]time.Duration)

// lap says what begins now, and with it what has ended; "" for nothing.
func (r *run) lap(what, phase string) {
	now := time.Now()
	if r.phase != "" {
		spent[r.phase] += now.Sub(r.since)
	}
	if phase == "fault" {
		phase = what
	}
	r.phase, r.since = phase, now
}

// whereTimeWent is a line for it.
func whereTimeWent() string {
	names := slices.SortedFunc(maps.Keys(spent), func(a, b string) int { return int(spent[b] - spent[a]) })
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = fmt.Sprintf("%s %v", n, spent[n].Round(10*time.Millisecond))
	}
	return strings.Join(parts, ", ")
}
