package docs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// notStarted are Caddyfiles of the documentation that are not run, by a line of
// theirs, and why.
var notStarted = map[string]string{}

// TestCaddyfiles starts a gateway with every Caddyfile of the documentation and
// drives each of its routes.
func TestCaddyfiles(t *testing.T) {
	gateway.Binary(t)
	unused := make(map[string]bool)
	for line := range notStarted {
		unused[line] = true
	}
	for _, b := range blocks(t) {
		if b.language != "caddyfile" {
			continue
		}
		if line, reason := listed(b.text, notStarted, strings.Contains); reason != "" {
			delete(unused, line)
			t.Logf("%s is not run: %s", b, reason)
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			r := startSnippet(t, b)
			leaves := r.leaves(t)
			if len(leaves) == 0 {
				t.Fatalf("nothing in it answers:\n%s", b.text)
			}
			for _, l := range leaves {
				t.Run(l.String(), func(t *testing.T) { r.drive(t, l) })
			}
			if t.Failed() {
				t.Logf("%s, block %d:\n%s", b.page, b.n, b.text)
			}
		})
	}
	for line := range unused {
		t.Errorf("no Caddyfile has the line %q: take it out of the table", line)
	}
}

// listed is the entry of a table that is in a text, as in says, and the reason
// there.
func listed(text string, table map[string]string, in func(text, entry string) bool) (entry, reason string) {
	for entry, reason := range table {
		if in(text, entry) {
			return entry, reason
		}
	}
	return "", ""
}

// running is a gateway that runs a snippet.
type running struct {
	*gateway.Gateway
	block
	site     string // base URL of the snippet's first site
	env      map[string]string
	upstream *upstream
}

var (
	siteLine   = regexp.MustCompile(`(?m)^[a-z:{$*\[][^\n]*[^\s{] \{$`)
	variable   = regexp.MustCompile(`\{(?:env\.|\$)([A-Za-z_0-9]+)`)
	proxyLine  = regexp.MustCompile(`(?m)^\s+(?:reverse_proxy|to) .*$`)
	anUpstream = regexp.MustCompile(`\b(?:localhost|127\.0\.0\.1):\d+`)
	keyFile    = regexp.MustCompile(`@/\S+\.pem`)
	anyPath    = regexp.MustCompile(`/(?:var/lib|etc|backup|var/backups)/\S*`)
)

// startSnippet completes a snippet by what it leaves out and starts a gateway
// with it.
func startSnippet(t *testing.T, b block) *running {
	t.Helper()
	r := &running{block: b, upstream: newUpstream(t), env: map[string]string{
		"OPAL_STRATEGY_WORKFLOW_AUTH_KEY": gateway.RandomText(), "BASE_URL": "http://gateway.test",
	}}
	r.env["OPAL_WEBHOOK_URL"] = r.upstream.URL
	if strings.Contains(b.text, "osa_simulator") {
		r.env["OSA_ENV"] = "development" // it is refused elsewhere
	}
	own := map[string]bool{ // what package gateway gives
		"OSA_WEBHOOK_SHARED_SECRET": true, "OSA_KEY_PEPPER": true, "OSA_KEYS_FILE": true, "OSA_JWT_PUBLIC_KEY": true, "OPAL_WORKSPACE_ID": true,
	}
	for _, m := range variable.FindAllStringSubmatch(b.text, -1) {
		if name := m[1]; !own[name] && r.env[name] == "" {
			r.env[name] = gateway.RandomText()
		}
	}
	dir := gateway.TempDir(t)
	r.Gateway = gateway.New(t, gateway.Options{Dir: dir, Env: r.env, Edit: func(string) string { return "" }})
	r.WriteConfig("Caddyfile", func(string) string { return r.complete(t, dir) }) // over what New wrote
	r.Start()
	return r
}

// complete is the snippet as a whole Caddyfile: an admin endpoint, addresses of
// this machine, and a route by which it can be seen that it is up.
func (r *running) complete(t *testing.T, dir string) string {
	t.Helper()
	text := anyPath.ReplaceAllStringFunc(r.text, func(p string) string { return filepath.Join(dir, p) })
	for _, name := range keyFile.FindAllString(text, -1) {
		name = strings.TrimPrefix(name, "@")
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(r.PublicPEM()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	global := "\tadmin \"{$OSA_ADMIN_ENDPOINT}\"\n\tdefault_bind {$OSA_BIND}\n\tgrace_period 1s\n"
	if rest, ok := strings.CutPrefix(text, "{\n"); ok {
		text = "{\n" + global + rest
	} else {
		text = "{\n" + global + "}\n" + text
	}
	globals, sites := splitGlobals(text)
	switch {
	case strings.HasPrefix(strings.TrimSpace(sites), "osa_"): // a directive alone
		sites = "example.com {\n" + sites + "}\n"
	case strings.TrimSpace(sites) == "": // global options alone
		sites = "example.com {\n\thandle /api/webhooks/opal-workflow {\n\t\t@post method POST\n" +
			"\t\tosa_signature @post osa {env.OSA_WEBHOOK_SHARED_SECRET}\n\t\tosa_webhook opal\n\t}\n}\n"
	}
	// Upstreams are ours; sites stand at free ports.
	sites = proxyLine.ReplaceAllStringFunc(sites, func(line string) string {
		return anUpstream.ReplaceAllString(line, strings.TrimPrefix(r.upstream.URL, "http://"))
	})
	sites = siteLine.ReplaceAllStringFunc(sites, func(string) string {
		addr := gateway.FreeAddr(t)
		if r.site == "" {
			r.site = "http://" + addr
		}
		return "http://" + addr + " {"
	})
	if r.site == "" {
		t.Fatalf("no site is found in it:\n%s", r.text)
	}
	return globals + sites + "\nhttp://" + r.Addr + " {\n\tosa_health /api/health\n}\n"
}

// splitGlobals cuts a Caddyfile behind its first block.
func splitGlobals(text string) (globals, rest string) {
	at := strings.Index(text, "\n}\n") + len("\n}\n")
	return text[:at], text[at:]
}

// upstream is what stands behind the gateway: a service, or OPAL.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]received // by X-Test
}

type received struct {
	method, path string
	body         []byte
}

func newUpstream(t *testing.T) *upstream {
	u := &upstream{seen: make(map[string]received)}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		u.mu.Lock()
		u.seen[r.Header.Get("X-Test")] = received{r.Method, r.URL.Path, body}
		u.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"upstream":true,"status":"accepted"}`)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) got(id string) (received, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, ok := u.seen[id]
	return r, ok
}

// adapted is the snippet's configuration as JSON, from the binary itself.
func (r *running) adapted(t *testing.T) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := r.Command(ctx, "adapt", "--config", filepath.Join(r.Dir, "Caddyfile"), "--adapter", "caddyfile").Output()
	if err != nil {
		t.Fatal(fmt.Errorf("adapting: %w", err))
	}
	return out
}
