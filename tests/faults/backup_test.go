package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// loseStore takes backups under load, loses the store and goes on with the one
// that was restored, beside the gateway of the run, which goes on with its own.
func (r *run) loseStore() {
	dir, err := os.MkdirTemp("", "osa-bak-")
	if err != nil {
		r.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "osa.bak")
	r.backup("--full", file)
	for range 1 + r.rng.IntN(3) {
		switch r.rng.IntN(4) {
		case 0:
			r.kill()
		case 1:
			r.backupKilled(file)
		case 2:
			r.killBackingUp(file)
		}
		r.await(int64(5 + r.rng.IntN(30)))
	}
	acknowledged := r.ledger.snapshot()
	r.backup(file)
	r.await(int64(20 + r.rng.IntN(50))) // ids that the backup cannot know of
	r.pauseLoad()
	r.compareRestored(acknowledged, filepath.Join(dir, "restored"), file)
	r.begin()
}

// pauseLoad ends the load, and with it everything that was under way.
func (r *run) pauseLoad() {
	r.t.Helper()
	if err := r.load.stop(); err != nil {
		r.t.Fatal(err)
	}
	total.acknowledged.Add(r.load.acknowledged.Load())
}

// backup runs `osa backup`, which must succeed.
func (r *run) backup(args ...string) {
	r.t.Helper()
	if out, err := r.g.Run(append([]string{"osa", "backup"}, args...)...); err != nil {
		r.t.Fatalf("osa backup: %v: %s", err, out)
	}
}

// backupKilled kills the command, at any moment or as soon as it has begun to
// write.
func (r *run) backupKilled(file string) {
	r.t.Helper()
	before := fileSize(file)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := r.g.Command(ctx, "osa", "backup", file)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	kill := time.After(time.Duration(r.rng.IntN(200)) * time.Millisecond)
	if r.rng.IntN(2) == 0 {
		kill = nil
	}
	for alive := true; alive; {
		select {
		case <-ended:
			alive = false
		case <-kill:
			_ = cmd.Process.Kill()
		case <-time.After(100 * time.Microsecond):
			if kill == nil && fileSize(file) != before {
				_ = cmd.Process.Kill()
			}
		}
	}
}

func fileSize(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return -1
	}
	return info.Size()
}

// killBackingUp kills the gateway while a backup is taken.
func (r *run) killBackingUp(file string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := r.g.Command(ctx, "osa", "backup", file)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Duration(r.rng.IntN(200)) * time.Millisecond) // anywhere in the backup
	r.g.Kill9()
	_ = cmd.Wait() // what came of it does not matter
	r.restart()
}

// snapshot is what is acknowledged so far.
func (l *ledger) snapshot() []*sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*sent, 0, len(l.bySeq))
	for _, s := range l.bySeq {
		all = append(all, s)
	}
	return all
}

// compareRestored restores the backup and starts a gateway on it. It must hold
// what was acknowledged before the backup began, under the same ids, and nothing
// that the lost store did not hold. It gives out no id that the lost store can
// have given out. The load has ended.
func (r *run) compareRestored(acknowledged []*sent, store, file string, flags ...string) {
	r.t.Helper()
	if out, err := r.g.Run(append(append([]string{"osa", "restore", "--to", store}, flags...), file)...); err != nil {
		r.t.Fatalf("osa restore: %v: %s", err, out)
	}
	g := gateway.Start(r.t, gateway.Options{Data: store, Credentials: r.g.Credentials})
	log, err := patiently(func() ([]gateway.Record, error) { return g.List("order=asc") })
	if err != nil {
		r.t.Fatal(err)
	}

	// Beyond what was acknowledged, the backup may hold some of what was under
	// way, and some of what came while it was taken: acknowledged since, all of it.
	held, highest := newLedger(), uint64(0)
	keep := func(s *sent) {
		s = &sent{n: s.n, digest: s.digest, hash: s.hash, size: s.size, workflow: s.workflow, agent: s.agent, eventType: s.eventType, state: s.state, seq: s.seq}
		held.byHash[s.hash], held.bySeq[s.seq] = s, s
	}
	for _, s := range acknowledged {
		keep(s)
	}
	all := r.ledger.snapshot()
	var late []*sent
	in := make(map[uint64]bool, len(log))
	for i := range log {
		in[log[i].Seq] = true
	}
	for _, s := range all {
		highest = max(highest, s.seq)
		if in[s.seq] {
			keep(s)
		} else {
			late = append(late, s)
		}
	}
	v := new(verdict)
	compareLog(v, held, log)
	if v.ok() {
		compareAll(v, g, held, log)
	}
	v.settle(r.t, "a restore")
	again, err := r.sendAgain(g, held, late, highest)
	if err != nil {
		r.t.Fatal(err)
	}
	g.Terminate()
	compareStates(v, store, again)
	v.settle(r.t, "a restore")
	g.RemoveData()
	r.t.Logf("%d of %d events restored, %d of them acknowledged before the backup", len(log), len(all), len(acknowledged))
}

// sendAgain sends the restored store what it holds, what was lost with the store
// before it, and something new, and returns its log. The lost store gave out ids
// up to highest.
func (r *run) sendAgain(g *gateway.Gateway, held *ledger, late []*sent, highest uint64) ([]gateway.Record, error) {
	r.t.Helper()

	some := held.snapshot()
	r.rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	for _, s := range some[:min(5, len(some))] {
		if a, seq := r.send(g, s.again()); a.Status != "duplicate" || seq != s.seq {
			r.t.Errorf("evt_%d, sent again to the restored store, is answered with %+v", s.seq, a)
		}
	}
	news := [][]byte{newEvent(int(r.next.Add(1)), 300).body}
	for _, s := range late[:min(3, len(late))] { // lost with the store: its sender sends it again
		news = append(news, s.again())
	}
	for _, body := range news {
		a, seq := r.send(g, body)
		if a.Status != "processed" || seq <= highest {
			r.t.Errorf("the lost store had given out evt_%d; a new event in the restored one is answered with %+v", highest, a)
		}
		highest = seq
	}
	return patiently(func() ([]gateway.Record, error) { return g.List("order=asc") })
}

func (r *run) send(g *gateway.Gateway, body []byte) (a answer, seq uint64) {
	r.t.Helper()
	resp, err := g.Post(body)
	if err == nil && resp.Status != 200 {
		err = fmt.Errorf("%d %.300s", resp.Status, resp.Body)
	}
	if err == nil {
		a, seq, err = parseAnswer(resp.Body)
	}
	if err != nil {
		r.t.Fatalf("an event to the restored store: %v", err)
	}
	return a, seq
}

// TestBackup: backups appended to each other under load, one of them killed, and
// one that is cut off where a crash can have cut it.
func TestBackup(t *testing.T) {
	rng := random(t)
	r := newRun(t, rng, gateway.Options{})
	r.begin()
	r.await(100)
	dir := gateway.TempDir(t)
	file := filepath.Join(dir, "osa.bak")
	var first []*sent
	var whole int64 // before the last one
	for i := range 4 {
		first = r.ledger.snapshot()
		r.backup(file)
		switch i {
		case 0:
			r.kill()
		case 1:
			r.backupKilled(file)
		case 2:
			whole = fileSize(file)
		}
		r.await(100)
	}
	r.pauseLoad()
	r.compareRestored(first, filepath.Join(dir, "restored"), file)

	// The last one, cut off.
	r.begin()
	r.await(10)
	before := r.ledger.snapshot()
	r.backup(file)
	whole, full := fileSize(file), whole
	if full >= whole {
		t.Fatalf("the backup did not grow: %d, %d bytes", full, whole)
	}
	r.await(50)
	r.backup(file)
	r.pauseLoad()
	if err := os.Truncate(file, whole+1+rand.Int64N(fileSize(file)-whole-1)); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, "torn")
	if out, err := r.g.Run("osa", "restore", "--to", torn, file); err == nil || !containsAll(out, "cut off", "--salvage") {
		t.Fatalf("a backup that is cut off is restored: %v: %s", err, out)
	}
	r.compareRestored(before, torn, file, "--salvage")
	r.begin()
	r.await(10)
	last := r.ledger.snapshot()
	r.backup(file) // goes on where it is whole
	r.pauseLoad()
	r.compareRestored(last, filepath.Join(dir, "again"), file)
	r.begin()
	r.await(30)
	r.end("backups")
	r.close()
}
