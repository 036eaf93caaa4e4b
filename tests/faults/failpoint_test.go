package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// steps are the failpoints, and after how many hits at most a run stops there.
// What happens to a full segment needs bodies that fill one, and what happens to
// a large body needs those.
var steps = []struct {
	name  string
	hits  int
	extra extra
}{
	{"segment.append.begin", 100, extra{}}, {"segment.written", 100, extra{}}, {"segment.synced", 100, extra{}},
	{"log.committed", 100, extra{}}, {"log.reply", 200, extra{}},
	{"large.written", 4, largeBodies},
	{"segment.roll", 1, segmentsFull}, {"segment.sealed", 1, segmentsFull}, {"segment.renamed", 1, segmentsFull},
}

// extra is load beside that of every run.
type extra struct{ senders, size int }

var (
	largeBodies  = extra{1, 2_000_000}
	segmentsFull = extra{4, 200_000} // as much as stands in a segment itself
)

// failpointShare is how many of n faults are at failpoints; each is tried once at
// least.
func failpointShare(n int) int { return max(len(steps), n/5) }

// TestFailpoints kills the gateway at every step of a commit, and of the way of a
// segment. Those of retention are in TestRetentionKilled.
func TestFailpoints(t *testing.T) {
	rng := random(t)
	n := failpointShare(faultCount(t, 0))
	for done := 0; done < n; {
		r := newRun(t, rng, gateway.Options{Binary: gateway.FailpointBinary(t)})
		for i := 0; i < perStore && done < n; i++ {
			step := steps[done%len(steps)]
			r.stopAt(step.name, 1+rng.IntN(step.hits), step.extra)
			done++
		}
		r.close()
		t.Logf("%d of %d", done, n)
	}
}

// stopAt lets the gateway end itself at a failpoint, under load.
func (r *run) stopAt(name string, hit int, more extra) {
	r.t.Helper()
	what := fmt.Sprintf("%s, hit %d", name, hit)
	r.startPhase("failpoint "+name, "fault")
	r.g.Terminate()
	r.g.Setenv("OSA_FAILPOINT", fmt.Sprintf("%s=kill:%d", name, hit))
	r.g.StartOnly()
	r.begin()
	var big *load
	if more.senders > 0 {
		big = startLoad(r.g, r.ledger, &r.next, more.senders, []int{more.size})
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
	if big != nil {
		if err := big.stop(); err != nil {
			r.t.Fatalf("%s: %v", what, err)
		}
		total.acknowledged.Add(big.acknowledged.Load())
	}
	r.startPhase(what, "load")
	r.await(30)
	r.end(what)
	r.startPhase(what, "")
}
