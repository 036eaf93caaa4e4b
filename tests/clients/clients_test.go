// Package clients has clients that others wrote follow the stream of the real
// binary: the npm package eventsource, and a browser. They are left to themselves
// while the gateway is reloaded and restarted.
package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// within is far beyond what anything here takes.
const within = time.Minute

// dispatched is one event as the client hands it to its listeners.
type dispatched struct{ ID, Event, Data string }

// following is what a client has dispatched so far.
type following struct {
	mu     sync.Mutex
	events []dispatched
	opened int
}

func (f *following) add(d dispatched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.Event == "open" {
		f.opened++
		return
	}
	f.events = append(f.events, d)
}

func (f *following) state() (opened int, events []dispatched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened, slices.Clone(f.events)
}

// follow publishes and disturbs, and compares what the client makes of it.
func follow(t *testing.T, g *gateway.Gateway, f *following) {
	t.Helper()
	opened := func(n int) {
		t.Helper()
		gateway.Eventually(t, within, fmt.Sprintf("the client has connected %d times", n), func() bool {
			got, _ := f.state()
			return got >= n
		})
	}
	var want []string
	post := func(n int) {
		t.Helper()
		for range n {
			i := len(want)
			fields := map[string]any{
				"event_type": []string{"agent_status_update", "workflow_progress", "error_notification", "something_new"}[i%4],
				"data":       nil, "error_message": "a\nb \u2028 \"c\" é😀",
			}
			at := time.Now().UTC().Format(time.RFC3339Nano)
			a := g.MustPost(gateway.Event("wf-client", "geo_audit", at, fields))
			want = append(want, a.WebhookID+" "+[]string{"agent_status_change", "workflow_progress_update", "error_notification", "message"}[i%4])
		}
	}
	arrived := func() {
		t.Helper()
		gateway.Eventually(t, within, "everything has arrived", func() bool {
			_, got := f.state()
			return len(got) >= len(want)
		})
	}
	opened(1)
	post(20)
	arrived()
	// A reload keeps the stream.
	if err := g.Reload(g.WriteConfig("Caddyfile.reloaded", gateway.Generation(t, 2))); err != nil {
		t.Fatal(err)
	}
	g.HTTP.CloseIdleConnections() // the old server closes them: a POST on one would fail
	post(20)
	arrived()
	if n, _ := f.state(); n != 1 {
		t.Errorf("the client connected %d times over a reload", n)
	}
	// A restart ends it; the client comes back by itself for what it missed.
	g.Restart()
	post(20)
	opened(2)
	post(20)
	arrived()

	_, events := f.state()
	var got []string
	for _, e := range events {
		got = append(got, e.ID+" "+e.Event)
		var data map[string]any
		if err := json.Unmarshal([]byte(e.Data), &data); err != nil {
			t.Errorf("%s: %v: %q", e.ID, err, e.Data)
		}
		if message, ok := data["message"].(string); ok && message != "a\nb \u2028 \"c\" é😀" {
			t.Errorf("%s: message %q", e.ID, message)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestNPMEventSource(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is needed: install Node.js 20 or newer, and npm (Debian: apt-get install nodejs npm), or run tests/run.sh, which installs them")
	}
	dir := gateway.TempDir(t)
	for _, name := range []string{"package.json", "package-lock.json", "follow.js"} {
		b, err := os.ReadFile(filepath.Join("testdata", "node", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	g := gateway.Start(t, gateway.Options{})
	cmd := exec.CommandContext(t.Context(), node, "follow.js", g.URL+gateway.StreamPath, g.Key)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var f following
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(out); in.Scan(); {
			var d dispatched
			if err := json.Unmarshal(in.Bytes(), &d); err != nil {
				t.Errorf("%s: %v", in.Text(), err)
			}
			f.add(d)
		}
	}()
	follow(t, g, &f)
	_ = cmd.Process.Kill()
	<-done
	_ = cmd.Wait()
}

func TestBrowser(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: forPages(t, "osa_stream")})
	follow(t, g, browse(t, g))
}

// TestBrowserRefused: a browser whose stream is refused for now comes back by itself,
// and gets the stream once there is a place.
func TestBrowserRefused(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: forPages(t, "osa_stream {\n\t\t\t\tmax_streams 1\n\t\t\t}")})
	only := g.Follow("evt_0", "")
	defer only.Close()
	first := g.MustPost(gateway.Event("wf-first", "geo_audit", time.Now().UTC().Format(time.RFC3339Nano), nil))
	seq := (gateway.Message{ID: first.WebhookID}).Seq()
	if err := only.WaitSeq(seq, within); err != nil {
		t.Fatal(err)
	}
	f := browse(t, g)
	gateway.Eventually(t, within, "the browser has come back after a refusal", func() bool {
		opened, events := f.state()
		return opened >= 2 && len(events) == 0
	})
	only.Close()
	gateway.Eventually(t, within, "the browser gets events", func() bool {
		g.MustPost(gateway.Event("wf-refused", "geo_audit", time.Now().UTC().Format(time.RFC3339Nano), nil))
		_, events := f.state()
		return len(events) > 0
	})
}

// forPages opens the stream to pages of any origin: a browser's EventSource sends no
// Authorization, and asks another origin's server whether it may read.
func forPages(t *testing.T, stream string) func(string) string {
	return func(text string) string {
		text = gateway.Replace(t, text, "\t\tosa_auth key jwt\n",
			"\t\theader Access-Control-Allow-Origin *\n\t\tosa_auth key jwt {\n\t\t\tanonymous {$OPAL_WORKSPACE_ID} events:read\n\t\t}\n")
		return gateway.Replace(t, text, "\t\t\tosa_stream\n", "\t\t\t"+stream+"\n")
	}
}

// browse has a browser follow the stream.
func browse(t *testing.T, g *gateway.Gateway) *following {
	t.Helper()
	f := new(following)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("testdata", "page.html"))
	})
	mux.HandleFunc("POST /seen", func(w http.ResponseWriter, r *http.Request) {
		var all []dispatched
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
			t.Error(err)
		}
		for _, d := range all {
			f.add(d)
		}
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	profile, err := os.MkdirTemp("", "osa-browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), findBrowser(t), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-extensions", "--mute-audio",
		"--user-data-dir="+profile, pages.URL+"/?stream="+url.QueryEscape(g.URL+gateway.StreamPath))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// The browser's other processes end a moment later, and write until then.
		gateway.Eventually(t, within, "the browser's profile is removed", func() bool { return os.RemoveAll(profile) == nil })
	})
	return f
}

// findBrowser finds Chromium or Chrome.
func findBrowser(t *testing.T) string {
	t.Helper()
	// tests/run.sh installs what has none of these names.
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("a browser is needed: install Chromium or Chrome (Debian: apt-get install chromium), or run tests/run.sh, which installs it")
	return ""
}
