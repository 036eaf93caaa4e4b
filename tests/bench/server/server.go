// Package server runs one binary with a Caddyfile for a benchmark and tells what
// it uses. It needs Linux: it reads /proc.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startDeadline = 30 * time.Second
	stopDeadline  = 30 * time.Second
)

// Options of a server.
type Options struct {
	Binary    string
	Caddyfile string
	// Dir is where it runs and writes.
	Dir string
	// Env are further variables, NAME=value.
	Env []string
	// CPUs pins the process, as taskset -c takes it.
	CPUs string
}

// Server is a running process.
type Server struct {
	// Address is host:port where it listens; in the Caddyfile {$BENCH_ADDRESS}.
	Address string

	cmd    *exec.Cmd
	dir    string
	admin  string // its socket; in the Caddyfile {$BENCH_ADMIN}
	exited chan struct{}
	client *http.Client
}

// Start starts the server and waits until it listens.
func Start(o Options) (*Server, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &Server{Address: address, dir: o.Dir, admin: filepath.Join(o.Dir, "admin.sock"), exited: make(chan struct{})}
	config := filepath.Join(o.Dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(o.Caddyfile), 0o600); err != nil {
		return nil, err
	}
	args := []string{o.Binary, "run", "--config", config, "--adapter", "caddyfile"}
	if o.CPUs != "" {
		args = append([]string{"taskset", "-c", o.CPUs}, args...)
	}
	s.cmd = exec.Command(args[0], args[1:]...) //nolint:gosec // the benchmark's own arguments
	s.cmd.Dir = o.Dir
	s.cmd.Env = append(os.Environ(), "BENCH_ADDRESS="+address, "BENCH_ADMIN=unix/"+s.admin,
		"XDG_DATA_HOME="+o.Dir, "XDG_CONFIG_HOME="+o.Dir)
	s.cmd.Env = append(s.cmd.Env, o.Env...)
	log, err := os.Create(filepath.Join(o.Dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	s.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.admin)
	}}}
	if err := s.ready(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// freeAddress takes a port below those that the system gives to outgoing
// connections: one of these could be gone before the server has it.
func freeAddress() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))); err == nil { //nolint:gosec // any will do
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

func (s *Server) ready() error {
	for deadline := time.Now().Add(startDeadline); time.Now().Before(deadline); {
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended at once:\n%s", s.logTail())
		default:
		}
		if c, err := net.DialTimeout("tcp", s.Address, time.Second); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the server does not listen:\n%s", s.logTail())
}

func (s *Server) logTail() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// Stop ends the server and waits for it.
func (s *Server) Stop() error {
	s.client.CloseIdleConnections()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopDeadline):
		_ = s.cmd.Process.Kill()
		<-s.exited
		return errors.New("the server did not stop when told to")
	}
}

// Kill kills the server with SIGKILL and waits for its end.
func (s *Server) Kill() {
	s.client.CloseIdleConnections()
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Admin reads a path of Caddy's admin endpoint, such as /metrics.
func (s *Server) Admin(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return b, err
}

// Metrics reads the series without labels, by name.
func (s *Server) Metrics(ctx context.Context) (map[string]float64, error) {
	b, err := s.Admin(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	series := make(map[string]float64)
	for line := range strings.Lines(string(b)) {
		var name string
		var value float64
		if n, _ := fmt.Sscanf(line, "%s %g", &name, &value); n == 2 && name != "#" {
			series[name] = value
		}
	}
	return series, nil
}
