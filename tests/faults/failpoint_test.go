package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// steps are the failpoints, and after how many hits at most a run stops there.
// Those of a start are hit once a start; large bodies are staged, and fill
// memtables.
var steps = []struct {
	name  string
	hits  int
	large bool
}{
	{"commit.begin", 100, false}, {"commit.staged", 100, false}, {"commit.written", 100, false}, {"commit.synced", 100, false},
	{"stage.part", 4, true}, {"wal.rotate", 1, true}, {"wal.rotated", 1, true},
	{"project.begin", 10, false}, {"project.written", 10, false},
	{"log.committed", 100, false}, {"log.reply", 200, false},
	{"open.replayed", 1, false}, {"open.loaded", 1, false},
}

// failpointShare is how many of n faults are at failpoints; each is tried once at
// least.
func failpointShare(n int) int { return max(len(steps), n/5) }

// TestFailpoints kills the gateway at every step of a commit, of a projection
// and of a start.
func TestFailpoints(t *testing.T) {
	rng := random(t)
	n := failpointShare(faultCount(t, 0))
	for done := 0; done < n; {
		r := newRun(t, rng, gateway.Options{Binary: gateway.FailpointBinary(t)})
		for i := 0; i < perStore && done < n; i++ {
			step := steps[done%len(steps)]
			r.stopAt(step.name, 1+rng.IntN(step.hits), step.large)
			done++
		}
		r.close()
		t.Logf("%d of %d", done, n)
	}
}

// stopAt lets the gateway end itself at a failpoint, under load.
func (r *run) stopAt(name string, hit int, large bool) {
	r.t.Helper()
	what := fmt.Sprintf("%s, hit %d", name, hit)
	r.lap("failpoint "+name, "fault")
	r.g.Terminate()
	r.g.Setenv("OSA_FAILPOINT", fmt.Sprintf("%s=kill:%d", name, hit))
	r.g.StartOnly()
	r.begin()
	var big *load
	if large {
		big = startLoad(r.g, r.ledger, &r.next, 1, []int{2_000_000})
	}
	select {
	case <-r.g.Exited():
	case <-time.After(time.Minute):
		r.t.Fatalf("%s was not reached", what)
	}
	if err := r.g.WaitExit(); err == nil || err.Error() != "signal: killed" {
		r.t.Fatalf("%s: the gateway ended with %v; its log:\n%s", what, err, r.g.LogTail(20))
	}
	r.g.Setenv("OSA_FAILPOINT", "")
	r.restart()
	if large {
		if err := big.stop(); err != nil {
			r.t.Fatalf("%s: %v", what, err)
		}
		total.acknowledged.Add(big.acknowledged.Load())
	}
	r.lap(what, "load")
	r.await(30)
	r.end(what)
	r.lap(what, "")
}
