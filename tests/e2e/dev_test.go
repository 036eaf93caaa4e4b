package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

var agents = []string{
	"experiment_blueprinter", "audience_suggester", "content_review", "roadmap_generator", "integration_health",
	"personalization_idea_generator", "cmp_organizer", "customer_journey", "geo_audit",
}

// dev is a running `osa-gateway osa dev`.
type dev struct {
	t      *testing.T
	cmd    *exec.Cmd
	env    map[string]string // what its dev.env says
	dir    string
	mu     sync.Mutex
	output bytes.Buffer // what it printed
	exited chan struct{}
	client *gateway.Client
}

func startDev(t *testing.T, dir string, args ...string) *dev {
	t.Helper()
	d := &dev{t: t, dir: dir, exited: make(chan struct{})}
	d.cmd = exec.Command(gateway.Binary(t), append([]string{"osa", "dev", "--data-dir", dir, "--address", "http://127.0.0.1:0"}, args...)...)
	d.cmd.Dir = filepath.Dir(dir)
	// Production variables in the developer's shell must not get in.
	d.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(dir), "OSA_ENV=production", "OPAL_WEBHOOK_URL=http://127.0.0.1:9/"}
	pipe, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = d
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(d.exited)
		r := bufio.NewScanner(pipe)
		once := sync.OnceFunc(func() { close(ready) })
		for r.Scan() {
			_, _ = d.Write(append(r.Bytes(), '\n'))
			if strings.Contains(r.Text(), "ready") {
				once()
			}
		}
		_ = d.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
		if t.Failed() {
			t.Logf("osa dev printed:\n%s", d.printed())
		}
	})
	select {
	case <-ready:
	case <-d.exited:
		t.Fatal("osa dev ended before it was ready")
	case <-time.After(time.Minute):
		t.Fatal("osa dev was not ready within a minute")
	}
	d.env = readEnv(t, filepath.Join(dir, "dev.env"))
	d.client = gateway.NewClient(t, d.env["BASE_URL"], &gateway.Credentials{Secret: d.env["OSA_WEBHOOK_SHARED_SECRET"], Key: d.env["OSA_API_KEY"]})
	return d
}

func (d *dev) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.Write(b)
}

func (d *dev) printed() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.String()
}

// readEnv reads a file as a shell would that sources it.
func readEnv(t *testing.T, path string) map[string]string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `set -a; . "$1"; env`, "sh", path).Output()
	if err != nil {
		t.Fatalf("sourcing %s: %v", path, err)
	}
	env := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	for _, name := range []string{"OSA_WEBHOOK_SHARED_SECRET", "OSA_API_KEY", "OSA_ADMIN_TOKEN", "BASE_URL"} {
		if env[name] == "" {
			t.Fatalf("%s has no %s", path, name)
		}
	}
	return env
}

// TestFirstSuccess: one command, one request, and nine agents' events are on the
// stream and in last-webhook.
func TestFirstSuccess(t *testing.T) {
	dir := filepath.Join(gateway.TempDir(t), "dev")
	start := time.Now()
	d := startDev(t, dir)
	ready := time.Now()
	s := d.client.MustOpen("")

	r := d.client.MustDo("POST", "/api/opal/sync", []byte(`{"sync_scope":"priority_platforms"}`),
		"Authorization", "Bearer "+d.env["OSA_API_KEY"], "Content-Type", "application/json")
	if r.Status != 200 {
		t.Fatalf("Force Sync: %d %s", r.Status, r.Body)
	}
	var sync struct {
		Success       bool   `json:"success"`
		SyncID        string `json:"sync_id"`
		CorrelationID string `json:"correlation_id"`
	}
	r.JSON(t, &sync)
	if !sync.Success || sync.SyncID == "" || !strings.HasPrefix(sync.CorrelationID, "force-sync-") {
		t.Errorf("Force Sync answered %s", r.Body)
	}
	done := func(ms []gateway.Message) bool {
		seen := make(map[string]bool)
		for _, m := range ms {
			if data, err := m.JSON(); err == nil && m.Event == "agent_status_change" && strings.Contains(m.Data, "completed") {
				if agent, ok := data["agent_id"].(string); ok && slices.Contains(agents, agent) {
					seen[agent] = true
				}
			}
		}
		return len(seen) == len(agents)
	}
	if err := s.Wait(time.Minute, done); err != nil {
		t.Fatalf("nine agents on the stream: %v", err)
	}
	t.Logf("ready after %v, nine agents' events %v after Force Sync", ready.Sub(start).Round(time.Millisecond), time.Since(ready).Round(time.Millisecond))

	gateway.Eventually(t, within, "the nine agents are in last-webhook", func() bool {
		last := string(d.client.Get("/api/diagnostics/last-webhook?limit=100&event_type=agent_status_change").Body)
		return !slices.ContainsFunc(agents, func(a string) bool { return !strings.Contains(last, `"`+a+`"`) })
	})
	// The run comes to its end.
	gateway.Eventually(t, time.Minute, "the workflow is complete", func() bool {
		return len(d.client.MustList("event_type=workflow_completion")) > 0
	})
	// Force Sync's own event is in the log, and not among the webhooks.
	if own := d.client.MustList("source=gateway"); len(own) == 0 || own[0].Kind != "workflow_started" {
		t.Errorf("the gateway's own events are %+v", own)
	}

	d.checkFiles()
	d.checkPorts()
	d.checkSecrets(d.printed(), "what it prints")
	log, err := os.ReadFile(filepath.Join(dir, "gateway.log"))
	if err != nil {
		t.Fatal(err)
	}
	d.checkSecrets(string(log), "its log")

	// It ends at Ctrl-C, and begins again with the same secrets and events.
	before := len(d.client.MustList(""))
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.exited:
	case <-time.After(within):
		t.Fatal("osa dev does not end at Ctrl-C")
	}
	again := startDev(t, dir, "--json")
	var said struct {
		Ready   bool   `json:"ready"`
		BaseURL string `json:"base_url"`
	}
	if err := json.Unmarshal([]byte(again.printed()), &said); err != nil || !said.Ready || said.BaseURL != again.env["BASE_URL"] {
		t.Errorf("--json printed %q (%v)", again.printed(), err)
	}
	for _, name := range []string{"OSA_WEBHOOK_SHARED_SECRET", "OSA_API_KEY", "OSA_ADMIN_TOKEN"} {
		if again.env[name] != d.env[name] {
			t.Errorf("%s has changed", name)
		}
	}
	if after := len(again.client.MustList("")); after != before {
		t.Errorf("%d events before the restart, %d after", before, after)
	}

	// A second one in the same directory is refused.
	out, err := exec.Command(gateway.Binary(t), "osa", "dev", "--data-dir", dir, "--address", "http://127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another gateway runs in") {
		t.Errorf("a second one in the same directory: %v\n%s", err, out)
	}
}

// checkFiles: nobody else can read anything.
func (d *dev) checkFiles() {
	d.t.Helper()
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		secret := strings.HasSuffix(name, ".env") || strings.HasSuffix(name, ".json") && filepath.Dir(path) == d.dir || strings.HasSuffix(name, "private.pem")
		if perm := info.Mode().Perm(); path == d.dir && perm != 0o700 || secret && perm != 0o600 {
			d.t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// checkSecrets: none of them is in the text.
func (d *dev) checkSecrets(text, where string) {
	d.t.Helper()
	secrets := readEnvFile(d.t, filepath.Join(d.dir, "secrets.env"))
	secrets["OSA_ADMIN_TOKEN"] = d.env["OSA_ADMIN_TOKEN"]
	for name, value := range secrets {
		if len(value) < 16 {
			d.t.Errorf("%s has %d characters", name, len(value))
		} else if strings.Contains(text, value) {
			d.t.Errorf("%s is in %s", name, where)
		}
	}
}

func readEnvFile(t *testing.T, path string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	vars := make(map[string]string)
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			vars[name] = strings.Trim(value, "'")
		}
	}
	if len(vars) == 0 {
		t.Fatalf("%s is empty", path)
	}
	return vars
}

// checkPorts: it listens on the gateway's port and on the simulator's, which only this
// machine reaches, and nowhere else.
func (d *dev) checkPorts() {
	d.t.Helper()
	pid := d.cmd.Process.Pid
	own := make(map[string]bool) // inodes of its sockets
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:[") {
			own[strings.Trim(target, "socket:[]")] = true
		}
	}
	var open []string
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			d.t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			c := strings.Fields(line)
			listening := len(c) > 9 && (c[3] == "0A" || strings.HasPrefix(table, "udp"))
			if listening && own[c[9]] {
				addr, port, _ := strings.Cut(c[1], ":")
				open = append(open, table+" "+port)
				if addr != "0100007F" && addr != "00000000000000000000000001000000" {
					d.t.Errorf("it listens on %s", c[1])
				}
			}
		}
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(d.env["BASE_URL"], "http://"), ":")
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		d.t.Fatal(err)
	}
	_, simulator, _ := strings.Cut(d.printed(), "in place of OPAL at http://localhost:")
	var m int
	if _, err := fmt.Sscan(simulator, &m); err != nil {
		d.t.Fatalf("the simulator's port is not printed: %v", err)
	}
	if m <= n {
		d.t.Errorf("the simulator is at port %d, the gateway at %d", m, n)
	}
	for _, socket := range open {
		if socket != fmt.Sprintf("tcp %04X", n) && socket != fmt.Sprintf("tcp %04X", m) && socket != fmt.Sprintf("tcp6 %04X", m) {
			d.t.Errorf("open sockets are %v, want those of %d and %d", open, n, m)
		}
	}
	if len(open) < 2 {
		d.t.Errorf("open sockets are %v, want those of %d and %d", open, n, m)
	}
	resp, err := http.Get(fmt.Sprintf("http://localhost:%d/", m))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `"simulated":true`) {
		d.t.Errorf("the simulator answers %s, %v", body, err)
	}
}
