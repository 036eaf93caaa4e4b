package stream

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// childConfig names the configuration that a process of this test binary runs
// with, as Caddy would.
const childConfig = "OSA_STREAM_TEST_CHILD"

func child(path string) {
	config, err := os.ReadFile(path)
	if err == nil {
		caddy.TrapSignals()
		err = loadConfig(config)
	}
	if err == nil {
		err = os.WriteFile(path+".ready", nil, 0o600)
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// TestExit ends a process of its own with streams open: each gets a delay of its
// own to come back after, then the end, and the process is gone.
func TestExit(t *testing.T) {
	for name, change := range map[string]func(*site){
		"HTTP/1.1": nil,
		"HTTP/1.1 over TLS, taken over": func(s *site) {
			s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t)}
		},
		"HTTP/1.1 over TLS, kept": func(s *site) {
			s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t)}
			s.stream["keep_connections"] = true
		},
		"HTTP/2": func(s *site) { s.useHTTP2(t) }, // and one over HTTP/1.1, which is stuck
	} {
		t.Run(name, func(t *testing.T) {
			s := plainSite(t, change)
			s.stream["heartbeat"] = "50s"
			path := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(path, s.config(), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), childConfig+"="+path)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			s.eventually("the child serves", func() bool {
				_, err := os.Stat(path + ".ready")
				return err == nil
			})
			var readers []*reader
			for range 8 {
				readers = append(readers, s.open(""))
			}
			if resp, err := s.client.Get(s.URL + "/publish?n=3"); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			for _, r := range readers {
				wantIDs(t, r.ids(3), 1, 3)
			}
			// A client that reads nothing must not hold the exit up.
			s.stuck(t, "")
			if resp, err := s.client.Get(s.URL + "/publish?n=300&size=20000"); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			for _, r := range readers {
				r.ids(300)
			}

			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			delays := make(map[string]bool)
			for _, r := range readers {
				rest := r.ended()
				if len(rest) != 1 {
					t.Fatalf("ended with %+v", rest)
				}
				ms, err := strconv.Atoi(rest[0].retry)
				if err != nil || ms < 1000 || ms > 5000 {
					t.Errorf("retry %q", rest[0].retry)
				}
				delays[rest[0].retry] = true
			}
			if len(delays) < 4 {
				t.Errorf("%d different delays", len(delays))
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			// Not a measure of speed: without the drain it would be forever. How fast
			// it is on the real binary is for the end-to-end tests.
			if took := time.Since(start); took > 30*time.Second {
				b, _ := os.ReadFile(s.log)
				t.Errorf("the process took %v to go:\n%s", took, b[max(0, len(b)-8000):])
			}
		})
	}
}

func TestLogTellsWhyStreamsEnd(t *testing.T) {
	s := newSite(t, nil)
	s.open("").close()
	s.eventually("the end is logged", func() bool {
		b, err := os.ReadFile(s.log)
		return err == nil && strings.Contains(string(b), `"stream ended","reason":"client_gone"`)
	})
}
