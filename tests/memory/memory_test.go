package memory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestEmptyStore and TestGrownStore are one run each: what a store takes in
// memory may grow with it.
func TestEmptyStore(t *testing.T) { newRun(t, configured(t)).all("empty store") }

func TestGrownStore(t *testing.T) {
	r := newRun(t, configured(t))
	took, events := r.fill()
	r.all(fmt.Sprintf("store of %d MB, %d events, filled in %v", r.used()/1_000_000, events, took.Round(time.Second)))
}

// run is one gateway in a cgroup.
type run struct {
	sizes
	t      *testing.T
	g      *gateway.Gateway
	cgroup *cgroup
	ledger *ledger
	rows   []row

	base      uint64 // the log's head before the load
	followers []*follower
}

// streams are open all the while.
const streams = 30

func newRun(t *testing.T, s sizes) *run {
	t.Helper()
	return &run{
		sizes: s, t: t, ledger: &ledger{bySeq: make(map[uint64]acknowledged)},
		g: gateway.New(t, gateway.Options{Edit: func(text string) string {
			return gateway.Replace(t, text, "\t\tosa_stream\n", "\t\tosa_stream {\n\t\t\tmax_streams_per_principal 1000\n\t\t}\n")
		}}),
	}
}

// fill sends webhooks, outside of the cgroup, until the store is large enough.
func (r *run) fill() (took time.Duration, events int) {
	r.t.Helper()
	begin := time.Now()
	r.g.Start()
	target := load.Target{Address: r.g.Addr, Path: gateway.WebhookPath, Secret: r.g.Secret}
	source := load.NewLive(target, load.NewEvents(r.storeBody, seeds.Add(1)))
	for r.used() < r.store {
		result, err := load.Run(r.t.Context(), load.Options{Target: target, Source: source, Connections: 64, Duration: time.Second})
		if err != nil || result.Processed == 0 {
			r.t.Fatalf("filling the store: %v: %+v", err, result)
		}
		events += result.Processed
		r.g.TruncateLog()
	}
	r.g.Terminate()
	return time.Since(begin), events
}

// used is what the store takes on disk: files may be longer than that.
func (r *run) used() (n int64) {
	r.t.Helper()
	err := filepath.WalkDir(r.g.Data, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil && e.Name() != "ballast" && e.Name() != "BALLAST" {
				n += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // files come and go
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// all does everything, one kind after the other and then all at once.
func (r *run) all(what string) {
	r.t.Helper()
	r.cgroup = newCgroup(r.t, r.limit)
	defer func() {
		r.t.Logf("%s, limit %d MiB, cgroup v%d\n%s", what, r.limit>>20, r.cgroup.version, table(r.rows))
	}()
	r.g.StartThrough(r.cgroup.command()...)
	r.step("start", nil, func() {
		r.g.StartOnly()
		if err := r.g.Ready(3 * time.Minute); err != nil {
			r.dead(err)
		}
	})
	r.base = r.head()

	ctx, cancel := context.WithCancel(r.t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	for range streams {
		f := &follower{l: r.ledger, last: r.base}
		r.followers = append(r.followers, f)
		following.Go(func() { f.follow(ctx, r.g) })
	}

	kinds := []webhooks{
		{"1 KB on 64", r.small, 64, 1 << 10}, {"2 KB on 8", r.two, 8, 2 << 10}, {"200 KB on 64", r.medium, 64, 200 << 10},
		{"1 MB on 32", r.one, 32, 1 << 20}, {"8 MB on 16", r.eight, 16, 8 << 20},
	}
	for _, w := range kinds {
		r.webhooks("alone", w)
	}
	const readers = 20
	lists, resumes, backups := new(tally), new(tally), new(tally)
	r.step("alone", []kind{{"lists of 1,000", lists}}, func() { times(readers, func() { list(r.g, lists) }) })
	r.step("alone", []kind{{"resumes", resumes}}, func() { r.resumes(readers, resumes) })
	r.step("alone", []kind{{"backup", backups}}, func() { r.backup(backups) })
	r.atOnce(kinds, readers)
	r.check(time.Minute)
	cancel()
	following.Wait()

	// What was acknowledged is there after a crash, too, and the start fits.
	r.g.Kill9()
	r.step("start after kill -9", nil, func() {
		r.g.StartOnly()
		if err := r.g.Ready(3 * time.Minute); err != nil {
			r.dead(err)
		}
	})
	r.followers = nil
	r.check(time.Minute)
	r.g.Terminate()
	r.g.RemoveData()
}

// atOnce does all of it at once.
func (r *run) atOnce(hooks []webhooks, readers int) {
	r.t.Helper()
	var parts []func()
	var kinds []kind
	part := func(name string, fn func(*tally)) {
		t := new(tally)
		kinds = append(kinds, kind{name, t})
		parts = append(parts, func() { fn(t) })
	}
	for _, w := range hooks {
		part(w.name, func(t *tally) { w.send(r.g, r.ledger, t, r.g.Running) })
	}
	part("lists of 1,000", func(t *tally) { times(readers, func() { list(r.g, t) }) })
	part("resumes", func(t *tally) { r.resumes(readers, t) })
	part("backup", r.backup)
	r.step("all at once", kinds, func() {
		var done sync.WaitGroup
		for _, p := range parts {
			done.Go(p)
		}
		done.Wait()
	})
}

func (r *run) webhooks(step string, w webhooks) {
	r.t.Helper()
	t := new(tally)
	r.step(step, []kind{{w.name, t}}, func() { w.send(r.g, r.ledger, t, r.g.Running) })
	if n := t.broken.Load(); n > 0 && w.size <= earlyAnswer {
		r.t.Errorf("%s: %d had no answer, the first: %s", w.name, n, t.first)
	}
}

func (r *run) resumes(n int, t *tally) {
	head := r.highest()
	times(n, func() { resume(r.g, r.resumed, head, t) })
}

// highest is the last event that was acknowledged.
func (r *run) highest() uint64 {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	last := r.base
	for seq := range r.ledger.bySeq {
		last = max(last, seq)
	}
	return last
}

// backup takes a full one to a file, by a process outside of the cgroup.
func (r *run) backup(t *tally) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	file := filepath.Join(r.g.Dir, "osa.bak")
	out, err := r.g.Command(ctx, "osa", "backup", "--full", file).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("osa backup: %w: %.500s", err, r.g.Redact(string(out)))
	}
	count(t, err)
}

// step measures a part of the run. Some of each kind must have come through it.
func (r *run) step(name string, kinds []kind, fn func()) {
	r.t.Helper()
	most := sample(r.cgroup.anonymous)
	begin := time.Now()
	fn()
	r.rows = append(r.rows, row{name, kinds, time.Since(begin), most.stop(), r.cgroup.peak()})
	if !r.g.Running() {
		r.dead(errors.New("the gateway has ended"))
	}
	for _, k := range kinds {
		if k.through.Load() == 0 {
			r.t.Errorf("%s: no %s came through; %d were refused, %d broke: %s", name, k.name, k.refused.Load(), k.broken.Load(), k.first)
		}
		if n := k.broken.Load(); n > 0 && slices.Contains([]string{"lists of 1,000", "resumes", "backup"}, k.name) {
			r.t.Errorf("%s: %d %s broke: %s", name, n, k.name, k.first)
		}
	}
	r.g.TruncateLog()
}

// dead ends the test after the gateway did.
func (r *run) dead(err error) {
	r.t.Helper()
	r.t.Fatalf("in %d MiB: %v; the kernel ended %d processes for want of memory; %d webhooks were acknowledged before",
		r.limit>>20, err, r.cgroup.kills(), len(r.ledger.bySeq))
}

// head is the last event of the log, 0 if it is empty.
func (r *run) head() uint64 {
	r.t.Helper()
	p, err := r.g.ListPage(url.Values{"limit": {"1"}})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(p.Events) == 0 {
		return 0
	}
	return p.Events[0].Seq
}

// check compares what was acknowledged with the log and with the streams.
func (r *run) check(within time.Duration) {
	r.t.Helper()
	if n := r.cgroup.kills(); n > 0 {
		r.t.Errorf("the kernel ended %d processes for want of memory", n)
	}
	seqs := r.listed()
	r.ledger.mu.Lock()
	bySeq, unanswered, wrong := maps.Clone(r.ledger.bySeq), r.ledger.unanswered, slices.Clone(r.ledger.wrong)
	r.ledger.mu.Unlock()
	for _, w := range wrong {
		r.t.Error(w)
	}
	in := make(map[uint64]bool, len(seqs))
	for _, seq := range seqs {
		in[seq] = true
	}
	if len(in) != len(seqs) {
		r.t.Errorf("the list names %d events, %d of them different", len(seqs), len(in))
	}
	lost := 0
	for seq := range bySeq {
		if !in[seq] {
			lost++
		}
	}
	if lost > 0 {
		r.t.Errorf("%d of %d acknowledged events are lost", lost, len(bySeq))
	}
	if more := len(in) - (len(bySeq) - lost); more > unanswered {
		r.t.Errorf("%d events were never acknowledged; %d requests had no answer", more, unanswered)
	}
	r.checkBodies(bySeq)
	if len(seqs) == 0 {
		return
	}
	refused := 0
	for i, f := range r.followers {
		gateway.Eventually(r.t, within, fmt.Sprintf("stream %d comes to the end", i), func() bool {
			last, _ := f.at()
			return last >= seqs[len(seqs)-1]
		})
		if _, got := f.at(); got != len(seqs) {
			r.t.Errorf("stream %d got %d of %d events", i, got, len(seqs))
		}
		refused += f.refused
	}
	if refused > 0 {
		r.t.Logf("streams were refused %d times", refused)
	}
}

// listed are the events after the base. What is refused is asked for again.
func (r *run) listed() []uint64 {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		seqs, err := r.g.ListSeqs(url.Values{"order": {"asc"}, "cursor": {event.Cursor{Seq: r.base, Ascending: true}.String()}})
		if err == nil {
			return seqs
		}
		if !strings.Contains(err.Error(), ": 503 ") && !strings.Contains(err.Error(), ": 429 ") || time.Now().After(deadline) {
			r.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// checkBodies reads some back: the largest and others.
func (r *run) checkBodies(bySeq map[uint64]acknowledged) {
	r.t.Helper()
	seqs := slices.SortedFunc(maps.Keys(bySeq), func(a, b uint64) int { return bySeq[b].size - bySeq[a].size })
	for i, seq := range seqs {
		if i >= 8 && i%(len(seqs)/50+1) != 0 {
			continue
		}
		var resp *gateway.Response
		gateway.Eventually(r.t, time.Minute, fmt.Sprintf("evt_%d is read", seq), func() bool {
			resp = r.g.Get(fmt.Sprintf("/api/webhook-events/evt_%d", seq))
			return resp.Status != http.StatusServiceUnavailable && resp.Status != http.StatusTooManyRequests
		})
		body, err := gateway.Payload(resp.Body)
		if err != nil || resp.Status != http.StatusOK || sha256.Sum256(body) != bySeq[seq].digest {
			r.t.Errorf("the body of evt_%d (%d bytes) does not come back: %d, %v", seq, bySeq[seq].size, resp.Status, err)
		}
	}
}
