package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// anonymous is how much memory the process has for itself, in bytes: what the
// kernel cannot take back.
func anonymous(t *testing.T, g *gateway.Gateway) int64 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(g.PID()), "status"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(raw)
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// peak watches the memory until stop, which returns the most that there was.
func peak(t *testing.T, g *gateway.Gateway) (stop func() int64) {
	t.Helper()
	end, done := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for {
			raw, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(g.PID()), "status"))
			if m := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(raw); m != nil {
				n, _ := strconv.ParseInt(string(m[1]), 10, 64)
				most = max(most, n<<10)
			}
			select {
			case <-end:
				done <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-done
	}
}

// stuckReader sends a request and takes nothing of the answer; cut tells when the
// gateway has given it up.
type stuckReader struct {
	conn net.Conn
	cut  func(within time.Duration) error
}

// stuckPlain is one over HTTP/1.1 whose kernel takes next to nothing. A gateway that
// gives up resets the connection.
func stuckPlain(t *testing.T, addr, request string) stuckReader {
	t.Helper()
	conn := dial(t, addr).(*net.TCPConn)
	_ = conn.SetReadBuffer(2 << 10)
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return stuckReader{conn, func(within time.Duration) error {
		// What is written shows that the connection is no more, and reads nothing.
		for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if _, err := conn.Write([]byte("x")); err != nil {
				return nil //nolint:nilerr // which is what is waited for
			}
		}
		return fmt.Errorf("the connection was still open after %v", within)
	}}
}

// stuckH2 is one over HTTP/2 that never opens the window.
func stuckH2(t *testing.T, addr, path string, header ...string) stuckReader {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "gateway.test", NextProtos: []string{"h2"}}) //nolint:gosec // the gateway's own certificate
	if err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	fields := append([]string{":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", path}, header...)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: strings.ToLower(fields[i]), Value: fields[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true})
	return stuckReader{conn, func(within time.Duration) error {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return fmt.Errorf("before the stream was reset: %w", err)
			}
			if _, ok := frame.(*http2.RSTStreamFrame); ok {
				return nil
			}
		}
	}}
}

// TestStuckReaders: hundreds of readers that take nothing of their answers cost what
// the shares of the memory allow and no more, whatever they asked for; meanwhile
// another workspace is answered and webhooks are taken; and they are given up.
func TestStuckReaders(t *testing.T) {
	const readers = 300
	// All that 256 MiB are shared out to: answers, streams, tables, filter and the
	// readers' connections, twice for garbage.
	const bound = 128 << 20
	secure := freePort(t)
	g := gateway.New(t, gateway.Options{Edit: func(text string) string {
		text = gateway.Replace(t, text, "\tdefault_bind {$OSA_BIND}\n", "\tdefault_bind {$OSA_BIND}\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n")
		text = gateway.Replace(t, text, "\n{$OSA_ADDRESS:http://:3000} {\n", "\n{$OSA_ADDRESS:http://:3000}, https://gateway.test:"+secure+" {\n")
		return gateway.Replace(t, text, "osa_stream\n", "osa_stream {\n\t\t\tmax_streams_per_principal 1000\n\t\t}\n")
	}})
	g.Setenv("GOMEMLIMIT", "256MiB")
	g.Start()
	host, _, _ := net.SplitHostPort(g.Addr)
	secureAddr := net.JoinHostPort(host, secure)
	certified(t, secureAddr, "gateway.test")

	fill(t, g, 1200)
	large := largest(t, g)
	key := "Authorization: Bearer " + g.Key
	get := func(path string, more ...string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + g.Addr + "\r\n" + strings.Join(append(more, key), "\r\n") + "\r\n\r\n"
	}
	for _, tt := range []struct {
		name, path string
		more       []string
		given      bool // up, within a write timeout
	}{
		{"lists", "/api/webhook-events?limit=1000", nil, true},
		{"last webhooks", "/api/diagnostics/last-webhook?limit=1000", nil, true},
		{"large events", "/api/webhook-events/" + large, nil, true},
		{"histories", gateway.StreamPath + "?history=1000", nil, false},
		{"resumes", gateway.StreamPath, []string{"Last-Event-ID: evt_1"}, false},
		{"metrics", "/metrics", nil, false},
		{"sync", "/api/opal/sync", nil, false},
		{"errors", "/api/nothing", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := anonymous(t, g)
			stop := peak(t, g)
			var stuck []stuckReader
			defer func() {
				for _, s := range stuck {
					_ = s.conn.Close()
				}
			}()
			for range readers {
				stuck = append(stuck, stuckPlain(t, g.Addr, get(tt.path, tt.more...)))
			}
			// A page of another workspace has one event, or none.
			for i := range 20 {
				r := g.MustDo("GET", "/api/webhook-events?limit=1000", nil, "Authorization", "Bearer "+g.OtherKey)
				if r.Status != http.StatusOK {
					t.Fatalf("another workspace's list %d: %d %s", i, r.Status, r.Body)
				}
				if p, err := g.Post(gateway.Event("wf-meanwhile", "geo_audit", stamp(), nil)); err != nil || p.Status != http.StatusOK {
					t.Fatalf("webhook %d: %v %+v", i, err, p)
				}
			}
			if tt.given {
				var wait sync.WaitGroup
				for i, s := range stuck {
					wait.Go(func() {
						if err := s.cut(60 * time.Second); err != nil {
							t.Errorf("reader %d: %v", i, err)
						}
					})
				}
				wait.Wait()
			}
			most := stop()
			t.Logf("%d MiB before, %d MiB at most", before>>20, most>>20)
			if most-before > bound {
				t.Errorf("%d readers cost %d MiB", readers, (most-before)>>20)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		before := anonymous(t, g)
		stop := peak(t, g)
		var wait sync.WaitGroup
		for i := range 100 {
			path := []string{"/api/webhook-events?limit=1000", "/api/webhook-events/" + large}[i%2]
			s := stuckH2(t, secureAddr, path, "Authorization", "Bearer "+g.Key)
			defer s.conn.Close()
			wait.Go(func() {
				if err := s.cut(60 * time.Second); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			})
		}
		wait.Wait()
		most := stop()
		t.Logf("%d MiB before, %d MiB at most", before>>20, most>>20)
		if most-before > bound {
			t.Errorf("100 readers cost %d MiB", (most-before)>>20)
		}
	})
}

// fill stores n events with 4 KiB of error text.
func fill(t *testing.T, g *gateway.Gateway, n int) {
	t.Helper()
	text := strings.Repeat("what went wrong ", 256)
	var wait sync.WaitGroup
	for part := range 8 {
		wait.Go(func() {
			for i := range n / 8 {
				body := gateway.Event("wf-failed", "geo_audit", fmt.Sprintf("fill-%d-%d", part, i), map[string]any{
					"event_type": "error_notification", "error_message": text,
				})
				if r, err := g.Post(body); err != nil || r.Status != http.StatusOK {
					t.Errorf("%v %+v", err, r)
					return
				}
			}
		})
	}
	wait.Wait()
}

// largest stores an event of nearly 10 MiB and returns its id.
func largest(t *testing.T, g *gateway.Gateway) string {
	t.Helper()
	body := gateway.Event("wf-large", "geo_audit", stamp(), map[string]any{"data": strings.Repeat("large ", 10<<20/6-200)})
	return g.MustPost(body).WebhookID
}
