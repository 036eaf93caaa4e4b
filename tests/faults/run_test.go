package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
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
	r := &run{t: t, rng: rng, ledger: newLedger(), g: gateway.New(t, opt)}
	r.next.Store(rng.Int64N(500)) // the large bodies come at other moments
	r.g.Start()
	r.all = r.g.Follow("evt_0", "")
	r.some = r.g.Follow("evt_0", "agent_id="+agents[2])
	t.Cleanup(func() { r.all.Close(); r.some.Close() })
	return r
}

const senders = 6

// under runs a fault at a random moment under load and checks what is left.
// The fault leaves a gateway that is ready.
func (r *run) under(what string, fault func()) {
	r.t.Helper()
	r.begin()
	r.await(r.rng.Int64N(200))
	time.Sleep(time.Duration(r.rng.IntN(4000)) * time.Microsecond) // anywhere in a batch
	fault()
	r.await(30) // it goes on
	r.end(what)
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
	total.faults.Add(1)
	total.acknowledged.Add(r.load.acknowledged.Load())
	r.check(what)
}

// check compares everything, the followers included.
func (r *run) check(what string) {
	r.t.Helper()
	judge(r.t, r.g, r.ledger, what)
	log, err := r.g.List("order=asc")
	if err != nil {
		r.t.Fatal(err)
	}
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

// close checks once more after a clean restart, and ends the run.
func (r *run) close() {
	r.t.Helper()
	r.g.Restart()
	r.check("the last restart")
	r.all.Close()
	r.some.Close()
	r.g.Terminate()
	r.g.RemoveData()
}

// restart starts the gateway again after its end.
func (r *run) restart() {
	r.t.Helper()
	r.g.Start()
}

// fault is something that happens to a gateway under load.
type fault struct {
	name string
	do   func(*run)
}

var faults = []fault{
	{"kill -9", (*run).kill},
	{"kill -9 while starting", (*run).killTwice},
	{"SIGTERM", func(r *run) { r.g.Terminate(); r.restart() }},
	{"reload", (*run).reload},
	{"failed reload", (*run).failedReload},
	{"second process", (*run).secondProcess},
	{"pause", (*run).pause},
	{"kill -9 during reload", (*run).killReloading},
}

// plan is n faults, more than half of them kill -9, in random order.
func plan(rng *rand.Rand, n int) []fault {
	out := make([]fault, n)
	for i := range out {
		switch {
		case i < len(faults):
			out[i] = faults[i] // each at least once
		case rng.IntN(10) < 6:
			out[i] = faults[0]
		default:
			out[i] = faults[rng.IntN(len(faults))]
		}
	}
	rng.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (r *run) kill() {
	r.g.Kill9()
	r.restart()
}

// killTwice kills it again while it recovers.
func (r *run) killTwice() {
	r.g.Kill9()
	r.g.StartOnly()
	time.Sleep(time.Duration(r.rng.IntN(250)) * time.Millisecond) // anywhere in its start
	r.g.Kill9()
	r.restart()
}

func (r *run) reload() {
	r.config++
	config := r.g.WriteConfig("Caddyfile.reload", gateway.Generation(r.t, r.config))
	if err := r.g.Reload(config); err != nil {
		r.t.Fatal(err)
	}
	r.generation()
}

// generation waits until the configuration that was loaded last answers.
func (r *run) generation() {
	want := fmt.Sprint(r.config)
	gateway.Eventually(r.t, 30*time.Second, "the new configuration answers", func() bool {
		resp, err := r.g.Do("GET", "/api/health", nil)
		return err == nil && resp.Header.Get("X-Config-Generation") == want
	})
}

func (r *run) failedReload() {
	bad := []func(string) string{
		func(s string) string { return s + "\n{ what is this" },
		func(s string) string {
			return gateway.Replace(r.t, s, "\t\tosa_webhook opal\n", "\t\tosa_webhook opal {\n\t\t\tmapping nobody\n\t\t}\n")
		},
		// Provisions, and fails when it starts: the store is open with other options.
		func(s string) string {
			return gateway.Replace(r.t, s, "{$OSA_RETENTION:30d}", "31d")
		},
	}
	config := r.g.WriteConfig("Caddyfile.bad", bad[r.rng.IntN(len(bad))])
	if err := r.g.Reload(config); err == nil {
		r.t.Fatal("a bad configuration was loaded")
	}
}

func (r *run) secondProcess() {
	other := gateway.New(r.t, gateway.Options{Data: r.g.Data, Credentials: r.g.Credentials, Binary: gateway.Binary(r.t)})
	other.StartOnly()
	if err := other.WaitExit(); err == nil {
		r.t.Fatal("a second process on the same store ended without an error")
	}
	if log := other.Log(); !containsAll(log, "in use by another process", r.g.Data) {
		r.t.Fatalf("a second process on the same store does not say what is wrong:\n%s", log)
	}
}

func (r *run) pause() {
	r.g.Signal(syscall.SIGSTOP)
	time.Sleep(time.Duration(50+r.rng.IntN(300)) * time.Millisecond) // the pause is the fault
	r.g.Signal(syscall.SIGCONT)
}

func (r *run) killReloading() {
	config := r.g.WriteConfig("Caddyfile.reload", gateway.Generation(r.t, r.config+1))
	loaded := make(chan error, 1)
	go func() { loaded <- r.g.Reload(config) }()
	time.Sleep(time.Duration(r.rng.IntN(60)) * time.Millisecond) // anywhere in the reload
	r.g.Kill9()
	<-loaded // what came of it does not matter
	r.restart()
}
