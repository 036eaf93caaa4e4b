package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// notRun are lines of the documentation's commands that are not run, by how they
// begin, and why.
var notRun = map[string]string{
	"./xcaddy.sh":    "builds the gateway: these tests run what is built",
	"./tests/run.sh": "runs all tests: this one is among them",
}

// TestShell runs every command of the documentation, page by page and in order,
// as somebody who follows it: in a directory with ./osa-gateway, beside a gateway
// that `osa dev` has started. `osa-gateway run` is run until it is ready. Paths
// of the system are in the directory, and addresses are free ones.
func TestShell(t *testing.T) {
	s := newShell(t)
	used := make(map[string]bool)
	for _, b := range blocks(t) {
		if b.language != "sh" {
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			var script []string
			for _, line := range commands(b.text) {
				if prefix, reason := listed(line, notRun, strings.HasPrefix); reason != "" {
					used[prefix] = true
					t.Logf("%q is not run: %s", line, reason)
					continue
				}
				script = append(script, line)
			}
			s.run(t, script)
		})
	}
	for prefix := range notRun {
		if !used[prefix] {
			t.Errorf("no command begins with %q: take it out of the table", prefix)
		}
	}
}

// commands are the lines of a script; one that goes on in the next is one.
func commands(text string) (lines []string) {
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// adminAddr is a free address for Caddy's admin endpoint. Of the loopback addresses
// Caddy allows 127.0.0.1 alone as a Host there.
func adminAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// shell is where commands are run.
type shell struct {
	t     *testing.T
	dir   string
	env   []string
	admin string // host:port of the admin endpoint of the gateway in production
	addr  string // of that gateway
	// production stops it, if it runs.
	production func()
}

func newShell(t *testing.T) *shell {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatalf("the documentation uses curl: %v", err)
	}
	s := &shell{t: t, dir: gateway.TempDir(t), admin: adminAddr(t), addr: gateway.FreeAddr(t)}
	bin := filepath.Join(s.dir, "bin")
	must(t, os.Mkdir(bin, 0o700))
	must(t, os.Symlink(gateway.Binary(t), filepath.Join(bin, "osa-gateway")))
	must(t, os.Symlink(gateway.Binary(t), filepath.Join(s.dir, "osa-gateway")))
	must(t, os.Symlink(filepath.Join(root, "Caddyfile.example"), filepath.Join(s.dir, "Caddyfile.example")))
	// An answer that is an error is a failure here.
	must(t, os.WriteFile(filepath.Join(bin, "curl"), []byte("#!/bin/sh\nexec "+curl+" --fail-with-body --max-time 60 \"$@\"\n"), 0o700))
	s.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + s.dir, "NO_COLOR=1", "XDG_CONFIG_HOME=" + s.dir + "/config",
		"XDG_DATA_HOME=" + s.dir + "/var/lib/osa-gateway",
	}
	for _, d := range []string{"backup", "etc", "var/lib"} {
		must(t, os.MkdirAll(filepath.Join(s.dir, d), 0o700))
	}

	dev := s.command("./osa-gateway", "osa", "dev", "--data-dir", ".osa-dev", "--address", "http://localhost:0")
	s.start(dev, func() bool { return s.healthy(devURL(s.dir)) })
	must(t, os.Symlink(filepath.Join(s.dir, ".osa-dev", "admin.sock"), filepath.Join(s.dir, "admin.sock")))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *shell) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if strings.HasPrefix(name, "./") {
		cmd.Path = filepath.Join(s.dir, name)
	}
	return cmd
}

// start starts a process, waits until it is ready and returns what stops it, which
// the end of the test does at the latest. It must end well when it is told to.
func (s *shell) start(cmd *exec.Cmd, ready func() bool) (stop func()) {
	t := s.t
	t.Helper()
	log, err := os.CreateTemp(s.dir, "log")
	must(t, err)
	defer log.Close()
	output := func() string { b, _ := os.ReadFile(log.Name()); return string(b[max(0, len(b)-4000):]) }
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	var ended error
	exited := make(chan struct{})
	go func() { ended = cmd.Wait(); close(exited) }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
			if ended != nil {
				t.Errorf("%v ended with %v:\n%s", cmd.Args, ended, output())
			}
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("%v does not end", cmd.Args)
		}
	})
	t.Cleanup(stop)
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-exited:
			t.Fatalf("%v ended with %v:\n%s", cmd.Args, ended, output())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v is not ready:\n%s", cmd.Args, output())
		}
	}
	return stop
}

// devURL is BASE_URL of the file that `osa dev` writes, "" before.
func devURL(dir string) string {
	b, _ := os.ReadFile(filepath.Join(dir, ".osa-dev", "dev.env"))
	_, rest, _ := strings.Cut(string(b), "BASE_URL=")
	url, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(url, `"'`)
}

func (s *shell) healthy(url string) bool {
	if url == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

var (
	systemPath = regexp.MustCompile(`(^|[\s=@"'])(/(?:etc|var/lib|backup)/)`)
	stays      = regexp.MustCompile(`osa-gateway run\b`)
)

// run runs the commands of one block, in order.
func (s *shell) run(t *testing.T, lines []string) {
	t.Helper()
	var some []string
	for _, line := range lines {
		line = systemPath.ReplaceAllString(line, "${1}"+s.dir+"$2")
		line = strings.ReplaceAll(line, "localhost:2019", s.admin)
		if stays.MatchString(line) {
			s.script(t, some)
			some = nil
			s.stay(t, line)
			continue
		}
		some = append(some, line)
	}
	s.script(t, some)
}

// script runs commands that end.
func (s *shell) script(t *testing.T, lines []string) {
	t.Helper()
	if len(lines) == 0 {
		return
	}
	// What a page has shown before, its reader has sourced.
	script := []string{"set -eo pipefail", "source .osa-dev/dev.env", "export OSA_ADMIN_ENDPOINT=" + s.admin}
	listens, answers := 0, 0
	for _, line := range lines {
		switch {
		case strings.HasSuffix(line, "&"): // what it prints is looked at
			listens++
			line = fmt.Sprintf("%s >listened.%d 2>&1 &", strings.TrimSuffix(line, "&"), listens)
		case strings.Contains(line, "curl "):
			answers++
			line, _, _ = strings.Cut(line, "   #")
			line += fmt.Sprintf(" >answer.%d", answers)
		case strings.Contains(line, "osa restore --to"): // into an empty directory, with the gateway stopped
			s.stopProduction(t)
			must(t, os.RemoveAll(filepath.Join(s.dir, "var/lib/osa-gateway")))
		}
		if (strings.Contains(line, s.admin) || strings.Contains(line, "osa backup")) && !s.healthy("http://"+s.addr) {
			t.Fatalf("no page before this has started the gateway that %q needs", line)
		}
		script = append(script, line)
	}
	for n := range listens {
		// It must have seen something in the end.
		script = append(script, fmt.Sprintf("until grep -q evt_ listened.%d || [ $SECONDS -gt 40 ]; do sleep 0.05; done; grep -q . listened.%d", n+1, n+1))
	}
	script = append(script, `for job in $(jobs -p); do kill "$job"; done`)
	for n := range answers {
		_ = os.Remove(filepath.Join(s.dir, fmt.Sprintf("answer.%d", n+1)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.Join(script, "\n"))
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%.3000s", err, strings.Join(lines, "\n"), out)
	}
	for n := range answers {
		b, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("answer.%d", n+1)))
		if err != nil || !json.Valid(b) {
			t.Errorf("a request of\n%s\nis answered %.500s, %v", strings.Join(lines, "\n"), b, err)
		}
	}
}

// stay starts what runs until it is told to stop: a gateway in production.
func (s *shell) stay(t *testing.T, line string) {
	t.Helper()
	s.stopProduction(t)
	cmd := s.command("bash", "-c", "exec "+line)
	cmd.Env = append(cmd.Env, "OSA_ADDRESS=http://"+s.addr, "OSA_ADMIN_ENDPOINT="+s.admin)
	s.production = s.start(cmd, func() bool { return s.healthy("http://" + s.addr) })
}

func (s *shell) stopProduction(t *testing.T) {
	t.Helper()
	if s.production != nil {
		s.production()
		s.production = nil
	}
}
