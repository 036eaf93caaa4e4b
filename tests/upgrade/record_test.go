package upgrade

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// options are those of every gateway here. Nothing expires, whenever this runs:
// the old version wrote down when an event ends.
func options(t *testing.T, binary, data string) gateway.Options {
	return gateway.Options{
		Binary: binary, Data: data,
		Env:  map[string]string{"OSA_ENV": "development", "OSA_RETENTION": "36500d"},
		Edit: func(text string) string { return gateway.Simulator(t, text) },
	}
}

// prepare makes a gateway whose Force Sync calls its own simulator.
func prepare(t *testing.T, binary, data string) *gateway.Gateway {
	t.Helper()
	g := gateway.New(t, options(t, binary, data))
	g.Setenv("BASE_URL", g.URL)
	g.Setenv("OPAL_WEBHOOK_URL", g.URL+"/simulator/opal")
	g.Setenv("OPAL_STRATEGY_WORKFLOW_AUTH_KEY", gateway.RandomText())
	return g
}

// everything is the list of all events, of those that the gateway made, too.
const everything = "order=asc&source=opal,gateway"

// record writes a fixture with another version's binary.
func record(t *testing.T, binary, commit, dir string, more int) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	g := prepare(t, binary, "")
	g.Start()
	n := 0
	post := func(pad int) []byte {
		n++
		body := gateway.Event(fmt.Sprintf("strategy_workflow-%d", n%4), "content_review", fmt.Sprintf("moment-%d", n), map[string]any{
			"pad": strings.Repeat("x", pad),
		})
		if a := g.MustPost(body); a.Status != "processed" {
			t.Fatalf("a new event is answered with %+v", a)
		}
		return body
	}
	for i := range 150 {
		post(i * 7)
	}
	first := post(10)
	// A key that comes again with another body is marked.
	if a := g.MustPost([]byte(strings.Replace(string(first), `"pad":"xx`, `"pad":"yy`, 1))); a.Status != "processed" {
		t.Fatalf("another body of the same key is answered with %+v", a)
	}
	for _, size := range []int{5000, 100_000, 256 << 10, 300_000, 1_500_000} {
		post(size)
	}
	backup := filepath.Join(g.Dir, "osa.bak")
	out, err := g.Run("osa", "backup", backup)
	if err != nil {
		t.Fatalf("osa backup: %v: %s", err, out)
	}
	backed := len(g.MustList(everything))
	g.Kill9()
	g.Start()
	run := forceSync(t, g)
	for range 40 {
		post(50)
	}
	if more > 0 {
		target := load.Target{Address: g.Addr, Path: gateway.WebhookPath, Secret: g.Secret}
		r, err := load.Run(t.Context(), load.Options{
			Target: target, Source: load.NewLive(target, load.NewEvents(0, 1)), Connections: 64, Requests: more,
		})
		if err != nil || r.Processed != more {
			t.Fatalf("filling the store: %v: %+v", err, r)
		}
	}
	e := expected{Commit: commit, Records: g.MustList(everything), Digests: make(map[string]string), Run: run, Backed: backed}
	for i := range e.Records {
		e.Digests[e.Records[i].ID] = "" // of many, only some are read
		if i < 300 || i%1000 == 0 {
			e.Digests[e.Records[i].ID] = fmt.Sprintf("%x", sha256.Sum256(payload(t, g, e.Records[i].ID)))
		}
	}
	page, err := g.ListPage(url.Values{"limit": {"10"}, "source": {"opal,gateway"}})
	must(t, err)
	e.Cursor = *page.NextCursor
	g.Terminate()
	pack(t, g.Data, filepath.Join(dir, storeArchive))
	zipped(t, backup, filepath.Join(dir, backupFile))
	raw, err := json.Marshal(e)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, expectedFile), append(raw, '\n'), 0o644)) //nolint:gosec // a fixture
}

// forceSync has the simulator run to its end, and returns what is said of it.
func forceSync(t *testing.T, g *gateway.Gateway) (run json.RawMessage) {
	t.Helper()
	resp := g.MustDo(http.MethodPost, "/api/opal/sync", []byte(`{"sync_scope":"all_platforms"}`),
		"Authorization", "Bearer "+g.Key, "Content-Type", "application/json")
	if resp.Status != http.StatusOK {
		t.Fatalf("Force Sync: %d %.300s", resp.Status, resp.Body)
	}
	gateway.Eventually(t, time.Minute, "the run ends", func() bool {
		run = lastRun(t, g)
		var r struct{ Status string }
		must(t, json.Unmarshal(run, &r))
		return r.Status == "completed"
	})
	return run
}

func lastRun(t *testing.T, g *gateway.Gateway) json.RawMessage {
	t.Helper()
	var status struct{ Run json.RawMessage }
	g.GetJSON("/api/opal/sync", &status)
	return status.Run
}

// payload is the body of an event.
func payload(t *testing.T, g *gateway.Gateway, id string) []byte {
	t.Helper()
	resp := g.Get("/api/webhook-events/" + id)
	if resp.Status != http.StatusOK {
		t.Fatalf("%s: %d %.300s", id, resp.Status, resp.Body)
	}
	body, err := gateway.Payload(resp.Body)
	must(t, err)
	return body
}
