package soak

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
	"github.com/osa-edge/osa-gateway/tests/prefilled"
)

// catchUp is what everybody gets to come to the end of the log after the load.
const catchUp = 2 * time.Minute

func TestSoak(t *testing.T) {
	s := configured(t)
	g := prepare(t, s)
	wrong := newComplaints()

	head := g.MustList("limit=1000&start_date=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	if len(head) > 0 {
		t.Fatalf("the log has %d events of the last hour before anything was sent", len(head))
	}
	page, err := g.ListPage(map[string][]string{"limit": {"1"}})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("the last event that was filled in: %+v, %v", page, err)
	}
	last := page.Events[0].Seq

	r := &soak{
		t: t, settings: s, g: g, wrong: wrong, calm: new(calm), errors: make(map[string]int),
		book: newLedger(g, last, wrong),
	}
	r.hooks = &webhooks{g: g, mix: newMix(2, s.huge), book: r.book, wrong: wrong, calm: r.calm}
	r.queries = &queries{g: g, hooks: r.hooks, wrong: wrong, calm: r.calm}
	r.subs = subscribers(g, s.subscribers, last, s.away, wrong, r.calm, bearers(g, s))
	r.run()

	ts := trends(r.recorder.samples, s.length)
	t.Logf("%v at %d webhooks a second, %d subscribers\n%s", s.length, s.rate, s.subscribers, table(ts))
	r.summary()
	for _, tr := range ts {
		if !tr.flat() {
			t.Errorf("%s grows: %.0f in the second quarter, %.0f in the last", tr.name, tr.early, tr.late)
		}
	}
	r.checkRetention()
	r.checkMapped()
	wrong.report(t)
}

// prepare fills a store with events that expire while the soak lasts, and starts
// a gateway on it.
func prepare(t *testing.T, s settings) *gateway.Gateway {
	t.Helper()
	g := gateway.New(t, gateway.Options{
		Env: map[string]string{"OSA_ENV": "development", "OSA_RETENTION": retention.String()},
		Edit: func(text string) string {
			return gateway.Simulator(t, gateway.Replace(t, text, "\t\tosa_stream\n", "\t\tosa_stream {\n\t\t\tmax_streams_per_principal 1000\n\t\t}\n"))
		},
	})
	// Force Sync and the simulator talk to each other through the front door.
	g.Setenv("BASE_URL", g.URL)
	g.Setenv("OPAL_WEBHOOK_URL", g.URL+"/simulator/opal")
	g.Setenv("OPAL_STRATEGY_WORKFLOW_AUTH_KEY", gateway.RandomText())

	// Some have expired already, and some are left at the end: to fill the store
	// takes its time, too.
	every := time.Second / time.Duration(s.rate)
	n := int((s.length + s.length/2 + 2*time.Minute) / every)
	begin := time.Now()
	err := prefilled.Fill(t.Context(), prefilled.Options{
		Dir: g.Data, Events: n, Every: every, First: begin.Add(-retention - 30*time.Second),
		Body: newMix(1, s.huge).Append, Workspace: gateway.Workspace,
		Batch: 16,
	})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("the store was filled with %d events in %v", n, took.Round(time.Second))
	if left := time.Duration(n)*every - 30*time.Second - took; left < s.length+10*time.Second {
		t.Fatalf("that was too slow: what is left expires within %v", left)
	}
	g.Start()
	return g
}

// bearers are credentials of several readers.
func bearers(g *gateway.Gateway, s settings) []string {
	out := []string{g.Key}
	for i := range 4 {
		claims := gateway.Claims("events:read")
		claims["sub"] = fmt.Sprintf("reader-%d", i)
		claims["exp"] = time.Now().Add(s.length + time.Hour).Unix()
		out = append(out, g.Token(claims))
	}
	return out
}

// soak is one run.
type soak struct {
	settings
	t     *testing.T
	g     *gateway.Gateway
	wrong *complaints
	calm  *calm

	book     *ledger
	hooks    *webhooks
	queries  *queries
	subs     []*subscriber
	recorder *recorder

	reloads, syncs int
	errors         map[string]int // the gateway's own log, by message
}

func (r *soak) run() {
	var out *os.File
	var err error
	if r.csv != "" {
		if out, err = os.Create(r.csv); err != nil {
			r.t.Fatal(err)
		}
		defer out.Close()
	}
	all, stopAll := context.WithCancel(r.t.Context())
	load, stopLoad := context.WithTimeout(all, r.length)
	var following, loading sync.WaitGroup
	defer func() {
		stopLoad()
		stopAll()
		loading.Wait()
		following.Wait()
	}()
	for _, s := range r.subs {
		following.Go(func() { s.run(all) })
	}
	following.Go(func() { r.book.follow(all, 500*time.Millisecond, r.compare) })
	loading.Go(func() { r.hooks.run(load, r.rate) })
	loading.Go(func() { r.queries.run(load) })

	if r.recorder, err = newRecorder(r.g, out); err != nil {
		r.t.Fatal(err)
	}
	r.watch(load, &loading)
	loading.Wait()
	r.finish()
}

func (r *soak) compare() {
	for _, s := range r.subs {
		r.book.compare(s)
	}
}

// watch records, reloads and calls until the load ends.
func (r *soak) watch(ctx context.Context, others *sync.WaitGroup) {
	sampled, reload, trigger := time.NewTicker(r.sample), time.NewTicker(r.reload), time.NewTicker(r.sync)
	defer sampled.Stop()
	defer reload.Stop()
	defer trigger.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.g.Exited():
			r.t.Fatalf("the gateway has ended; its log:\n%s", r.g.LogTail(60))
		case <-sampled.C:
			r.record()
		case <-reload.C:
			r.reloads++
			config := r.g.WriteConfig("Caddyfile.reload", gateway.Generation(r.t, r.reloads))
			r.calm.disturb(time.Minute)
			others.Go(func() {
				if err := r.g.Reload(config); err != nil {
					r.wrong.add("reloads", "%v", err)
				}
				r.calm.disturb(10 * time.Second)
			})
		case <-trigger.C:
			r.syncs++
			others.Go(r.forceSync)
		}
	}
}

func (r *soak) record() {
	more := make(map[string]float64)
	more["webhook_p50_ms"], more["webhook_p99_ms"] = r.hooks.latency.take()
	more["query_p50_ms"], more["query_p99_ms"] = r.queries.latency.take()
	more["complaints"] = float64(r.wrong.total())
	if err := r.recorder.take(more); err != nil && !r.calm.recently() {
		r.wrong.add("records", "%v", err)
	}
	for line := range strings.Lines(r.g.RawLog()) {
		if strings.Contains(line, `"level":"error"`) && !strings.Contains(line, `"logger":"http.log.access`) {
			_, text, _ := strings.Cut(line, `"msg":"`)
			text, _, _ = strings.Cut(text, `"`)
			if r.errors[text]++; r.errors[text] == 1 {
				r.t.Logf("the gateway's log: %s", r.g.Redact(line))
			}
		}
	}
	r.g.TruncateLog()
}

// forceSync has the simulator run, or joins its run.
func (r *soak) forceSync() {
	resp, err := r.g.Do(http.MethodPost, "/api/opal/sync", []byte(`{"sync_scope":"all_platforms"}`),
		"Authorization", "Bearer "+r.g.Key, "Content-Type", "application/json")
	switch {
	case err != nil && !r.calm.recently():
		r.wrong.add("Force Sync", "%v", err)
	case err == nil && resp.Status == http.StatusBadGateway && r.calm.recently():
		// The gateway's own call to the simulator goes through the same door.
	case err == nil && resp.Status != http.StatusOK:
		r.wrong.add("Force Sync", "%d %.300s", resp.Status, resp.Body)
	}
}

// finish lets everybody come to the end of the log, and closes the books.
func (r *soak) finish() {
	for _, s := range r.subs {
		s.mu.Lock()
		s.hurry = true
		s.mu.Unlock()
	}
	deadline := time.Now().Add(catchUp)
	until := func(what func() string) {
		for missing := what(); missing != ""; missing = what() {
			if time.Now().After(deadline) {
				r.wrong.add("never came", "%s", missing)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	until(func() string {
		r.book.mu.Lock()
		defer r.book.mu.Unlock()
		if n := len(r.book.acked); n > 0 {
			return fmt.Sprintf("%d acknowledged events in the list", n)
		}
		return ""
	})
	for _, s := range r.subs {
		until(func() string {
			s.mu.Lock()
			last := s.last
			s.mu.Unlock()
			if want := r.book.lastMatching(s.filter); last < want {
				return fmt.Sprintf("%s: evt_%d; the last is evt_%d", s, want, last)
			}
			return ""
		})
	}
	r.compare()
	r.book.close()
}

func (r *soak) summary() {
	h, verified, connects := r.hooks, 0, int64(0)
	for _, s := range r.subs {
		s.mu.Lock()
		verified += s.verified
		s.mu.Unlock()
		connects += s.connects.Load()
	}
	closed := make(map[string]float64)
	if metrics, err := scrape(r.g); err == nil {
		for name, n := range metrics {
			if reason, ok := strings.CutPrefix(name, "osa_stream_closed_total{reason="); ok && n > 0 {
				closed[strings.Trim(reason, `"}`)] = n
			}
		}
	}
	r.t.Logf("%d webhooks: %d acknowledged, %d of them compared with the log, %d duplicates, %d refused as they must be, %d sent again after a reload closed their connection\n"+
		"%d stream events compared, over %d connections, of which the gateway ended %v; %d queries, %d reloads, %d Force Syncs\nerrors in the gateway's log: %v",
		h.sent.Load(), h.acknowledged.Load(), r.book.matched, h.duplicates.Load(), h.refused.Load(), h.broken.Load(),
		verified, connects, closed, r.queries.asked.Load(), r.reloads, r.syncs, r.errors)
	if r.book.matched == 0 || verified == 0 || len(r.recorder.samples) < 10 {
		r.t.Errorf("next to nothing was compared")
	}
}

// checkRetention: what has expired goes within two minutes, and nothing earlier.
func (r *soak) checkRetention() {
	pruned := 0.0
	for _, s := range r.recorder.samples {
		lag := s.values["retention_lag_s"]
		pruned += s.values["pruned_s"]
		switch {
		case lag > 120:
			r.wrong.add("retention", "after %v the oldest event has expired %.0f s ago", s.at, lag)
		case lag < -1:
			r.wrong.add("retention", "after %v the log begins %.0f s too late", s.at, -lag)
		}
	}
	if r.recorder.counters[counted["pruned_s"]] == 0 {
		r.t.Error("retention has removed nothing")
	}
	if r.length >= 3*time.Minute && pruned == 0 {
		r.t.Error("retention has removed nothing after the start")
	}
}

// checkMapped: no more is mapped than there is on disk, with the program itself.
func (r *soak) checkMapped() {
	const program = 128 * mib
	for _, s := range r.recorder.samples {
		if mapped, disk := s.values["rss_file"], s.values["disk"]; mapped > disk+program {
			r.wrong.add("mapped files", "after %v %.0f MiB are mapped, %.0f MiB are on disk", s.at, mapped/mib, disk/mib)
		}
	}
}
