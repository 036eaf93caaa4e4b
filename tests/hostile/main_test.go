//go:build linux

// Package hostile runs the real gateway with several tenants, as production has
// it. One tenant sends the largest legal value in every field. A stranger without
// credentials tries every slow trick at once. The other tenants must not notice:
// their webhooks are taken, their lists and streams are whole.
//
// Every trick has a name and can be run alone:
//
//	OSA_HOSTILE         how long the attack lasts ("10m"); default a short form
//	OSA_HOSTILE_TRICKS  names of tricks, separated by commas; default all of them
//	                    but connect-beyond-descriptors, below.
//	                    A name that ends in * is a prefix; one that begins with -
//	                    is left out.
//	OSA_HOSTILE_SEED    a number from which every random choice follows; default 1
//
// Latencies are reported beside those of a calm baseline and hardly judged: the
// attackers and the gateway share one machine.
package hostile

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// settings are the size of a run.
type settings struct {
	attack time.Duration
	calm   time.Duration // the baseline before, and the time after
	seed   uint64
	tricks []trick
}

func configured(t *testing.T) settings {
	t.Helper()
	s := settings{attack: 25 * time.Second, calm: 5 * time.Second, seed: 1}
	if raw := os.Getenv("OSA_HOSTILE"); raw != "" {
		attack, err := time.ParseDuration(raw)
		if err != nil || attack < time.Second {
			t.Fatalf("OSA_HOSTILE is %q; want a duration of 1s at least", raw)
		}
		s.attack = attack
		switch {
		case attack < 10*time.Second:
			s.calm = 3 * time.Second
		case attack >= 2*time.Minute:
			s.calm = 20 * time.Second
		}
	}
	if raw := os.Getenv("OSA_HOSTILE_SEED"); raw != "" {
		seed, err := strconv.ParseUint(raw, 10, 64)
		if err != nil {
			t.Fatalf("OSA_HOSTILE_SEED is %q; want a number", raw)
		}
		s.seed = seed
	}
	s.tricks = chosen(t, cmp.Or(os.Getenv("OSA_HOSTILE_TRICKS"), usual))
	return s
}

// usual are the tricks where nothing is chosen. More connections than there are
// descriptors, made again as soon as they are closed, still cost the good tenants
// some of theirs: a request on such a connection ends without an answer.
const usual = "-connect-beyond-descriptors"

// chosen are the tricks that a list of names asks for.
func chosen(t *testing.T, list string) []trick {
	t.Helper()
	all := slices.Concat(strangerTricks, tenantTricks)
	if strings.TrimSpace(list) == "" {
		return all
	}
	patterns := strings.Split(list, ",")
	wanted := make([]bool, len(all))
	if strings.HasPrefix(strings.TrimSpace(patterns[0]), "-") { // all but some
		for i := range wanted {
			wanted[i] = true
		}
	}
	for _, raw := range patterns {
		pattern, without := strings.CutPrefix(strings.TrimSpace(raw), "-")
		prefix, open := strings.CutSuffix(pattern, "*")
		found := false
		for i, k := range all {
			if k.name == pattern || open && strings.HasPrefix(k.name, prefix) {
				wanted[i], found = !without, true
			}
		}
		if !found {
			t.Fatalf("OSA_HOSTILE_TRICKS: there is no trick %q", pattern)
		}
	}
	var some []trick
	for i, k := range all {
		if wanted[i] {
			some = append(some, k)
		}
	}
	return some
}

// TestHostile is the whole of it: calm, attack, calm, and the verdict.
func TestHostile(t *testing.T) {
	s := configured(t)
	a := newArena(t, s)
	t.Logf("%d tricks for %v, seed %d", len(s.tricks), s.attack, s.seed)

	a.seed(t)
	good := startGood(t, a)
	watch := startWatch(t, a)
	defer watch.stop()

	watch.enter(t, before)
	a.wait(t, s.calm)
	rest := watch.rest(t)

	watch.enter(t, during)
	marks := a.attack(t, s)

	watch.enter(t, after)
	a.wait(t, s.calm)
	watch.enter(t, phaseCount)
	good.finish(t)
	settled := watch.settle(t, rest)

	r := report{arena: a, good: good, marks: marks, watch: watch, rest: rest, settled: settled}
	t.Logf("\n%s", r.String())
	r.judge(t)
}
