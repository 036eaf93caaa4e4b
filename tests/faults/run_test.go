package faults

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// run is one gateway under load, with followers that hold on to its stream
// through everything.
type run struct {
	t      *testing.T
	g      *gateway.Gateway
	rng    *rand.Rand
	ledger *ledger
	next   atomic.Int64
	load   *load
	all    *gateway.Follower // of everything
	some   *gateway.Follower // of one agent
	config int               // generation of the configuration
	disk   *disk             // of its own, or nil
	log    []gateway.Record  // when it was checked last
	phase  string            // what it does, since when
	since  time.Time
}

// mixedSizes has small bodies, some that are staged in chunks, and now and then
// one of 9 MB.
var mixedSizes = func() []int {
	sizes := make([]int, 500)
	for i := range sizes {
		sizes[i] = 300 + 17*(i%60)
	}
	for i := 20; i < len(sizes); i += 50 {
		sizes[i] = 100_000 + i*1000
	}
	sizes[137] = 9_000_000
	return sizes
}()

func newRun(t *testing.T, rng *rand.Rand, opt gateway.Options) *run {
	t.Helper()
	r := &run{t: t, rng: rng, ledger: newLedger()}
	r.startPhase("", "new stores")
	r.g = gateway.New(t, opt)
	r.next.Store(rng.Int64N(500)) // the large bodies come at other moments
	r.g.Start()
	r.all = r.g.Follow("evt_0", "")
	r.some = r.g.Follow("evt_0", "agent_id="+agents[2])
	t.Cleanup(func() { r.all.Close(); r.some.Close() })
	r.startPhase("", "")
	return r
}

const senders = 6

// under runs a fault at a random moment under load and checks what is left.
// The fault leaves a gateway that is ready.
func (r *run) under(what string, fault func()) {
	r.t.Helper()
	r.begin()
	r.startPhase(what, "load")
	r.await(r.rng.Int64N(200))
	time.Sleep(time.Duration(r.rng.IntN(4000)) * time.Microsecond) // anywhere in a batch
	r.startPhase(what, "fault")
	fault()
	r.startPhase(what, "load")
	r.await(30) // it goes on
	r.end(what)
	r.startPhase(what, "")
}

func (r *run) begin() {
	r.load = startLoad(r.g, r.ledger, &r.next, senders, mixedSizes)
}

// await waits until so many more events were acknowledged.
func (r *run) await(more int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.load.reach(ctx, r.load.acknowledged.Load()+more); err != nil {
		r.t.Fatal(err)
	}
}

// end stops the load and checks.
func (r *run) end(what string) {
	r.t.Helper()
	if err := r.load.stop(); err != nil {
		r.t.Fatalf("load, %s: %v", what, err)
	}
	total.acknowledged.Add(r.load.acknowledged.Load())
	r.startPhase(what, "check")
	r.check(what)
	r.g.TruncateLog()
	happened()
}

// check compares everything, the followers included.
func (r *run) check(what string) {
	r.t.Helper()
	log := judge(r.t, r.g, r.ledger, what)
	r.log = log
	if len(log) == 0 {
		return
	}
	var ofAgent []uint64
	for i := range log {
		if text(log[i].AgentID) == agents[2] {
			ofAgent = append(ofAgent, log[i].Seq)
		}
	}
	for _, f := range []struct {
		name string
		*gateway.Follower
		want []uint64
	}{{"all", r.all, seqsOf(log)}, {"one agent", r.some, ofAgent}} {
		if len(f.want) == 0 {
			continue
		}
		if err := f.WaitSeq(f.want[len(f.want)-1], time.Minute); err != nil {
			r.t.Fatalf("after %s: the stream of %s: %v", what, f.name, err)
		}
		if diff := difference(f.want, f.Seqs()); diff != "" {
			total.lost.Add(1)
			r.t.Fatalf("after %s: a stream of %s, held through everything, differs from the log: %s", what, f.name, diff)
		}
		if resets := f.Resets(); len(resets) > 0 {
			r.t.Fatalf("after %s: the stream of %s was reset: %v", what, f.name, resets)
		}
	}
}

// close checks once more after a clean restart, every body too, and ends the run.
func (r *run) close() {
	r.t.Helper()
	r.startPhase("", "ends of stores")
	r.g.Restart()
	r.check("the last restart")
	r.all.Close()
	r.some.Close()
	v := new(verdict)
	for _, s := range r.ledger.bySeq {
		compareBody(v, r.g, s)
	}
	r.g.Terminate()
	compareStates(v, r.g.Data, r.log)
	v.settle(r.t, "all of it")
	r.g.RemoveData()
	r.startPhase("", "")
}

// restart starts the gateway again after its end.
func (r *run) restart() {
	r.t.Helper()
	r.g.Start()
}
