package faults

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// fault is something that happens to a gateway under load.
type fault struct {
	name string
	do   func(*run)
}

// What can happen to any gateway, to one whose clock is its own, and to one
// whose disk is its own.
var (
	anywhere = []fault{
		{"kill -9 while starting", (*run).killTwice},
		{"SIGTERM", func(r *run) { r.g.Terminate(); r.restart() }},
		{"reload", (*run).reload},
		{"failed reload", (*run).failedReload},
		{"second process", (*run).secondProcess},
		{"pause", (*run).pause},
		{"kill -9 during reload", (*run).killReloading},
		{"too few descriptors", (*run).fewDescriptors},
		{"backups and a lost store", (*run).loseStore},
		{"derived data deleted", (*run).deleteDerived},
		{"derived data damaged", (*run).damageDerived},
		{"derived data deleted while it runs", (*run).deleteRunning},
	}
	ofClock = []fault{
		{"clock stepped", (*run).stepClock},
		{"clock stepped while it is down", (*run).stepClockDown},
	}
	ofDisk = []fault{
		{"power cut", (*run).powerCut},
		{"disk that fails", (*run).failDisk},
		{"full disk", (*run).fullDisk},
	}
	killed = fault{"kill -9", (*run).kill}
)

// plan is n faults for a store, in random order. The first two stores see all
// kinds that there are; later ones see kill -9 in half of the cases.
func plan(rng *rand.Rand, store, n int) []fault {
	special, half := ofClock, anywhere[:len(anywhere)/2]
	if store%2 == 1 {
		special, half = ofDisk, anywhere[len(anywhere)/2:]
	}
	var out []fault
	if store < 2 {
		out = append(append(append(out, killed), special...), half...)
		out = out[:min(n, len(out))]
	}
	for len(out) < n {
		switch i := rng.IntN(10); {
		case i < 5:
			out = append(out, killed)
		case i < 7:
			out = append(out, special[rng.IntN(len(special))])
		default:
			out = append(out, anywhere[rng.IntN(len(anywhere))])
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
			return gateway.Replace(r.t, s, "\tosa_webhook {args[0]}\n", "\tosa_webhook {args[0]} {\n\t\tmapping nobody\n\t}\n")
		},
		// Provisions, and fails when it starts: the store is open with other options.
		func(s string) string {
			return gateway.Replace(r.t, s, "\t\tstorage badger {\n", "\t\tstorage badger {\n\t\t\treserve 300MiB\n")
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
