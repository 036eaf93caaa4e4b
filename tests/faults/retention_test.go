package faults

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bodies "github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/gateway"
	"github.com/osa-edge/osa-gateway/tests/prefilled"
)

// part of a log that was filled before the gateway started.
type part struct {
	n   int
	ago time.Duration // since the first of them was logged
}

// fillParts fills the store, and returns the bodies in the order of their sequence
// numbers, of which the first is 1.
func fillParts(t *testing.T, g *gateway.Gateway, parts ...part) (sent [][]byte) {
	t.Helper()
	events := bodies.NewEvents(0, uint64(time.Now().UnixNano())&0xffffff)
	for _, p := range parts {
		must(t, prefilled.Fill(t.Context(), prefilled.Options{
			Dir: g.Data, Events: p.n, First: time.Now().Add(-p.ago), Every: time.Millisecond, Workspace: gateway.Workspace,
			Body: func(dst []byte) []byte {
				body := events.Append(nil)
				sent = append(sent, body)
				return append(dst, body...)
			},
		}))
	}
	return sent
}

const hours = time.Hour

// expired is a log of which the first 601 events have expired, one of them logged
// while the clock was ahead.
var (
	expired = []part{{300, 75 * hours}, {1, -100 * 24 * hours}, {300, 50 * hours}}
	kept    = part{300, 12 * hours}
)

// awaitFloor waits until the log begins at that event, and looks at what was
// before and at what is after.
func awaitFloor(t *testing.T, g *gateway.Gateway, floor uint64, sent [][]byte) {
	t.Helper()
	var seqs []uint64
	gateway.Eventually(t, 90*time.Second, "what has expired is gone", func() bool {
		var err error
		seqs, err = patiently(func() ([]uint64, error) { return g.ListSeqs(map[string][]string{"order": {"asc"}}) })
		must(t, err)
		return len(seqs) > 0 && seqs[0] >= floor
	})
	if want := uint64(len(sent)) - floor + 1; seqs[0] != floor || uint64(len(seqs)) < want {
		t.Fatalf("the log begins at evt_%d with %d events; evt_%d and %d are wanted", seqs[0], len(seqs), floor, want)
	}
	for _, agent := range []string{"content_review", "geo_audit"} {
		of, err := patiently(func() ([]uint64, error) {
			return g.ListSeqs(map[string][]string{"order": {"asc"}, "agent_id": {agent}})
		})
		must(t, err)
		if len(of) == 0 || of[0] < floor {
			t.Errorf("the events of %s begin at %v; the log at evt_%d", agent, of[:min(1, len(of))], floor)
		}
	}
	for seq := range floor {
		if seq > 0 && (seq < 3 || seq > floor-3) {
			if resp := g.Get("/api/webhook-events/" + idOf(seq)); resp.Status != 404 {
				t.Errorf("evt_%d, which has expired, is answered with %d", seq, resp.Status)
			}
		}
	}
	// What is kept is the original of its duplicates.
	for _, seq := range []uint64{floor, uint64(len(sent))} {
		if a := g.MustPost(sent[seq-1]); a.Status != "duplicate" || a.WebhookID != idOf(seq) {
			t.Errorf("evt_%d, sent again, is answered with %+v", seq, a)
		}
	}
}

func idOf(seq uint64) string { return fmt.Sprintf("evt_%d", seq) }

// retentionOf is a gateway with that retention, which has not started.
func retentionOf(t *testing.T, binary, retention string) *gateway.Gateway {
	t.Helper()
	return gateway.New(t, gateway.Options{Binary: binary, Env: map[string]string{"OSA_RETENTION": retention}})
}

// TestRetention: what has expired is gone exactly, an event that was logged while
// the clock was ahead holds nothing back, files follow, and what is gone is new
// when it comes again.
func TestRetention(t *testing.T) {
	g := retentionOf(t, gateway.Binary(t), "24h")
	sent := fillParts(t, g, append(slices.Clone(expired), kept)...)
	g.Start()
	awaitFloor(t, g, 602, sent)
	gateway.Eventually(t, time.Minute, "files of what has expired are gone", func() bool { return lowestBase(t, g) > 300 })
	if a := g.MustPost(sent[0]); a.Status != "processed" {
		t.Errorf("an event that has expired, sent again, is answered with %+v", a)
	}
	g.Kill9()
	g.Start()
	awaitFloor(t, g, 602, sent)
	g.Terminate()
}

// lowestBase is the first sequence number that the log's files begin with.
func lowestBase(t *testing.T, g *gateway.Gateway) uint64 {
	t.Helper()
	lowest := ^uint64(0)
	for _, ext := range []string{"log", "seg"} {
		names, err := filepath.Glob(filepath.Join(g.Data, "log", "[0-9]*."+ext))
		must(t, err)
		for _, name := range names {
			lowest = min(lowest, baseOf(t, name))
		}
	}
	return lowest
}

// TestRetentionKilled kills the gateway at the steps of retention: what is gone
// stays gone, and nothing else goes.
func TestRetentionKilled(t *testing.T) {
	for _, point := range []string{"floor.written", "segment.unlinked"} {
		t.Run(point, func(t *testing.T) {
			g := retentionOf(t, gateway.FailpointBinary(t), "24h")
			sent := fillParts(t, g, append(slices.Clone(expired), kept)...)
			g.Setenv("OSA_FAILPOINT", point+"=kill:1")
			g.StartOnly()
			if err := g.WaitExit(); err == nil || err.Error() != "signal: killed" {
				t.Fatalf("it ended with %v:\n%s", err, g.LogTail(20))
			}
			g.Setenv("OSA_FAILPOINT", "")
			g.Start()
			awaitFloor(t, g, 602, sent)
			gateway.Eventually(t, time.Minute, "files of what has expired are gone", func() bool { return lowestBase(t, g) > 300 })
			g.Terminate()
			happened()
		})
	}
}

// TestRetentionLive: a reload changes retention. Raised, it keeps what it would
// have dropped and brings nothing back; lowered, it drops.
func TestRetentionLive(t *testing.T) {
	g := retentionOf(t, gateway.Binary(t), "48h")
	sent := fillParts(t, g, part{100, 75 * hours}, part{100, 30 * hours}, part{100, 12 * hours})
	g.Start()
	awaitFloor(t, g, 101, sent)
	reload := func(retention string) {
		must(t, g.Reload(g.WriteConfig("Caddyfile."+retention, func(text string) string {
			return strings.Replace(text, "{$OSA_RETENTION:30d}", retention, 1)
		})))
	}
	reload("90d")
	awaitFloor(t, g, 101, sent)
	reload("24h")
	awaitFloor(t, g, 201, sent)
	reload("90d")
	awaitFloor(t, g, 201, sent)
	g.Terminate()
}

// TestClockSteps: a clock that steps by 100 days, forward and back, while the
// gateway runs and while it is down, drops nothing and doubles nothing.
func TestClockSteps(t *testing.T) {
	// The time that retention goes by is confirmed, or nothing would ever be old.
	data := filepath.Join(gateway.TempDir(t), "store")
	must(t, prefilled.Fill(t.Context(), prefilled.Options{Dir: data}))
	r := newRun(t, random(t), gateway.Options{Data: data, Clock: true})
	const far = 100 * 24 * hours
	for _, offset := range []time.Duration{far, 0, -far, far, 0} {
		r.under("a step while it runs", func() { r.stepTo(offset) })
		r.under("a start after it", func() { r.kill() })
	}
	for _, offset := range []time.Duration{far, -far, 0} {
		r.under("a step while it is down", func() {
			r.g.Kill9()
			r.g.StepClock(offset)
			r.restart()
		})
	}
	r.close()
}
