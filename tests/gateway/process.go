package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Deadlines are far beyond what anything takes: they end a test that hangs.
const (
	readyDeadline = 60 * time.Second
	exitDeadline  = 60 * time.Second
)

type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	wall   *wall // with Options.Clock
}

// Start starts the process and waits until it is ready.
func (g *Gateway) Start() {
	g.t.Helper()
	g.StartOnly()
	g.WaitReady()
}

// StartOnly starts the process without waiting for it.
func (g *Gateway) StartOnly() {
	g.t.Helper()
	if g.proc != nil && g.Running() {
		g.t.Fatal("the gateway runs already")
	}
	log, err := os.OpenFile(g.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	g.must(err)
	defer log.Close()
	args := append(slices.Clone(g.through), g.binary, "run", "--config", g.config, "--adapter", "caddyfile")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = g.Dir, g.environ()
	cmd.Stdout, cmd.Stderr = log, log
	p := &process{cmd: cmd, exited: make(chan struct{})}
	if g.opt.Clock {
		p.wall, err = startStepped(cmd, g.clock.offset.Load())
	} else {
		err = cmd.Start()
	}
	g.must(err)
	go func() {
		p.err = cmd.Wait()
		if p.wall != nil {
			p.wall.close()
		}
		close(p.exited)
	}()
	g.proc = p
}

// WaitReady polls the health endpoint.
func (g *Gateway) WaitReady() {
	g.t.Helper()
	if err := g.Ready(readyDeadline); err != nil {
		g.t.Fatalf("%v; its log:\n%s", err, g.LogTail(40))
	}
}

// Ready polls the health endpoint until it answers 200.
func (g *Gateway) Ready(within time.Duration) error {
	deadline := time.Now().Add(within)
	last := "nothing"
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/api/health", nil)
		if err != nil {
			cancel()
			return err
		}
		resp, err := g.HTTP.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			last = resp.Status
		} else {
			last = err.Error()
		}
		cancel()
		if err == nil && resp.StatusCode == http.StatusOK {
			return nil
		}
		select {
		case <-g.proc.exited:
			return fmt.Errorf("the gateway ended while starting: %w", errOr(g.proc.err, "exit status 0"))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("the gateway was not ready within %v; health: %s", within, last)
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// Running tells whether the process is alive.
func (g *Gateway) Running() bool {
	select {
	case <-g.proc.exited:
		return false
	default:
		return true
	}
}

// PID of the process.
func (g *Gateway) PID() int { return g.proc.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (g *Gateway) Exited() <-chan struct{} { return g.proc.exited }

// Signal sends a signal to the process.
func (g *Gateway) Signal(sig syscall.Signal) {
	g.t.Helper()
	if err := g.proc.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.t.Fatalf("signal %v: %v", sig, err)
	}
}

// Kill9 kills the process and waits for its end.
func (g *Gateway) Kill9() {
	g.t.Helper()
	g.Signal(syscall.SIGKILL)
	_ = g.WaitExit()
}

// Terminate sends SIGTERM and returns how long the process took to end, which
// must be without an error.
func (g *Gateway) Terminate() time.Duration {
	g.t.Helper()
	// A connection that was opened and never used looks to a server as if its
	// request were still to come.
	g.HTTP.CloseIdleConnections()
	start := time.Now()
	g.Signal(syscall.SIGTERM)
	if err := g.WaitExit(); err != nil {
		g.t.Fatalf("after SIGTERM the gateway ended with %v; its log:\n%s", err, g.LogTail(40))
	}
	return time.Since(start)
}

// WaitExit waits for the end of the process and returns its error.
func (g *Gateway) WaitExit() error {
	g.t.Helper()
	select {
	case <-g.proc.exited:
	case <-time.After(exitDeadline):
		_ = g.proc.cmd.Process.Kill()
		g.t.Fatalf("the gateway did not end within %v; its log:\n%s", exitDeadline, g.LogTail(40))
	}
	// Idle connections to it are dead.
	g.HTTP.CloseIdleConnections()
	return g.proc.err
}

// Restart ends the process with SIGTERM and starts it again.
func (g *Gateway) Restart() {
	g.t.Helper()
	g.Terminate()
	g.Start()
}

// Run runs a subcommand with the gateway's environment and returns its output.
func (g *Gateway) Run(args ...string) (string, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := g.Command(ctx, args...).CombinedOutput()
	return g.Redact(string(out)), err
}

// Command is a subcommand with the gateway's environment, to be run by the
// caller.
func (g *Gateway) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.binary, args...)
	cmd.Dir, cmd.Env = g.Dir, g.environ()
	return cmd
}

// ReloadCommand is `osa-gateway reload`, as an operator does it.
func (g *Gateway) ReloadCommand(config string) (string, error) {
	g.t.Helper()
	return g.Run("reload", "--config", config, "--adapter", "caddyfile", "--address", "unix/"+g.adminSocket())
}

// Reload loads a Caddyfile through the admin endpoint, which is what
// ReloadCommand does, without the start of another process.
func (g *Gateway) Reload(config string) error {
	body, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	client := &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", g.adminSocket())
			},
		},
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://127.0.0.1/load", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reload: %s: %s", resp.Status, g.Redact(string(answer)))
	}
	return nil
}

func (g *Gateway) logPath() string { return filepath.Join(g.Dir, "gateway.log") }

// Log is everything the process wrote, without secrets.
func (g *Gateway) Log() string {
	raw, err := os.ReadFile(g.logPath())
	if err != nil {
		return err.Error()
	}
	return g.Redact(string(raw))
}

// RawLog is everything the process wrote.
func (g *Gateway) RawLog() string {
	raw, err := os.ReadFile(g.logPath())
	g.must(err)
	return string(raw)
}

// LogTail is the end of the log without access lines.
func (g *Gateway) LogTail(lines int) string {
	var kept []string
	for line := range strings.Lines(g.Log()) {
		if !strings.Contains(line, `"logger":"http.log.access`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-lines):], "")
}

// TruncateLog empties the log, so that long runs do not fill the disk.
func (g *Gateway) TruncateLog() {
	g.t.Helper()
	g.checkLog()
	g.must(os.Truncate(g.logPath(), 0))
}

// checkLog fails the test if the gateway broke where no test looked. The race
// detector speaks in a binary that was built with it.
func (g *Gateway) checkLog() {
	g.t.Helper()
	log := g.Log()
	for _, sign := range []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: ", `"msg":"http: panic`, "Assert failed"} {
		if at := strings.Index(log, sign); at >= 0 {
			g.t.Errorf("the gateway's log has %q:\n%.6000s", strings.TrimSpace(sign), log[at:])
		}
	}
}
