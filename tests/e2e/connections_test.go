package e2e

import (
	"fmt"
	"io"
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

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// limited are the arguments of StartThrough for a process that may have so many
// descriptors, soft and hard.
func limited(soft, hard int) []string {
	return []string{"sh", "-c", fmt.Sprintf(`ulimit -Sn %d && ulimit -Hn %d && exec "$@"`, soft, hard), "sh"}
}

// metric is the value of a series without a timestamp.
func metric(t *testing.T, g *gateway.Gateway, series string) float64 {
	t.Helper()
	body := g.MustDo("GET", "/metrics", nil).Body
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindSubmatch(body)
	if m == nil {
		t.Fatalf("there is no %s", series)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// hello is the beginning of a TLS handshake, less than half of it.
const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

// TestSilentConnections: however many strangers connect and say nothing, or nearly
// nothing, to a gateway that may have 256 descriptors, every webhook is taken, lists
// are answered and streams go on.
func TestSilentConnections(t *testing.T) {
	for _, tt := range []struct {
		name  string
		n     int
		tls   bool
		words string
		churn bool // whoever is cut off comes again
	}{
		{name: "silent", n: 240},
		{name: "silent 2000", n: 2000},
		{name: "half a header", n: 400, words: "POST " + gateway.WebhookPath + " HTTP/1.1\r\nHost: x\r\nX-Slow: "},
		{name: "half a handshake", n: 400, tls: true, words: hello},
		{name: "one request, then idle", n: 400, words: "GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"},
		{name: "again and again", n: 400, churn: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secure := freePort(t)
			g := gateway.New(t, gateway.Options{Edit: func(text string) string {
				if !tt.tls {
					return text
				}
				text = gateway.Replace(t, text, "\tdefault_bind {$OSA_BIND}\n", "\tdefault_bind {$OSA_BIND}\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n")
				return gateway.Replace(t, text, "\n{$OSA_ADDRESS:http://:3000} {\n", "\n{$OSA_ADDRESS:http://:3000}, https://gateway.test:"+secure+" {\n")
			}})
			g.StartThrough(limited(256, 256)...)
			g.Start()
			addr := g.Addr
			if tt.tls {
				host, _, _ := net.SplitHostPort(g.Addr)
				addr = net.JoinHostPort(host, secure)
			}
			s := g.MustOpen("")
			seq := post(t, g, "wf-before", 1)[0]
			if err := s.WaitSeq(seq, within); err != nil {
				t.Fatal(err)
			}

			stop := make(chan struct{})
			var strangers sync.WaitGroup
			connect := func() net.Conn {
				// Strangers come from elsewhere.
				d := net.Dialer{Timeout: within, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 99, 99, 99)}}
				conn, err := d.DialContext(t.Context(), "tcp", addr)
				if err != nil {
					t.Error(err)
					return nil
				}
				_, _ = io.WriteString(conn, tt.words)
				if strings.HasPrefix(tt.words, "GET") {
					_, _ = conn.Read(make([]byte, 1)) // its answer begins
				}
				return conn
			}
			var conns []net.Conn
			for range tt.n {
				if conn := connect(); conn != nil {
					conns = append(conns, conn)
				}
			}
			for _, conn := range conns {
				strangers.Go(func() {
					for conn != nil {
						_, _ = io.Copy(io.Discard, conn) // until it is cut off
						_ = conn.Close()
						if !tt.churn {
							return
						}
						select {
						case <-stop:
							return
						case <-time.After(50 * time.Millisecond):
							conn = connect()
							go func() {
								<-stop
								if conn != nil {
									_ = conn.SetDeadline(time.Unix(1, 0))
								}
							}()
						}
					}
				})
			}
			end := sync.OnceFunc(func() {
				close(stop)
				for _, conn := range conns {
					_ = conn.SetDeadline(time.Unix(1, 0))
				}
				strangers.Wait()
			})
			defer end()

			// Each webhook comes on a connection of its own.
			g.HTTP.Transport.(*http.Transport).DisableKeepAlives = true
			last := uint64(0)
			for i := range 120 {
				r, err := g.Post(gateway.Event("wf-meanwhile", "geo_audit", stamp(), nil))
				if err != nil || r.Status != http.StatusOK {
					t.Fatalf("webhook %d: %v, %+v", i, err, r)
				}
				var a gateway.Answer
				r.JSON(t, &a)
				last = seqOf(t, a.WebhookID)
			}
			if n := count(t, g); n != 121 {
				t.Errorf("%d events are listed", n)
			}
			if err := s.WaitSeq(last, within); err != nil {
				t.Errorf("the stream: %v", err)
			}
			if err := g.MustOpen("").WaitSeq(post(t, g, "wf-new", 1)[0], within); err != nil {
				t.Errorf("a new stream: %v", err)
			}
			if open, limit := metric(t, g, "osa_connections_open"), metric(t, g, "osa_connections_limit"); limit != 120 || open > limit || open < limit/2 {
				t.Errorf("%v connections are open, %v are allowed", open, limit)
			}
			reason := "no_request"
			if strings.HasPrefix(tt.words, "GET") {
				reason = "idle"
			}
			if n := metric(t, g, `osa_connections_closed_total{reason="`+reason+`"}`); n < float64(tt.n-120) {
				t.Errorf("%v were closed to make room", n)
			}
			if n := metric(t, g, `osa_connections_closed_total{reason="refused"}`); n != 0 {
				t.Errorf("%v were refused", n)
			}
			if n := openFiles(t, g); n > 256-40 {
				t.Errorf("%d descriptors are open", n)
			}
			end()
		})
	}
}

// openFiles is how many descriptors the gateway has.
func openFiles(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	names, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(g.PID()), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestConnectionLimit: what the limit is made of, what the log says of it, and that
// a reload changes it.
func TestConnectionLimit(t *testing.T) {
	setting := func(n int) func(string) string {
		return func(text string) string {
			return gateway.Replace(t, text, "\tosa {\n", fmt.Sprintf("\tosa {\n\t\tmax_connections %d\n", n))
		}
	}
	for _, tt := range []struct {
		name       string
		soft, hard int
		edit       func(string) string
		want       float64
		log        []string
		warns      bool
	}{
		// Go raises the soft limit to one less than the hard one.
		{"raised", 256, 4096, nil, 3895, []string{`"limited_by":"descriptors","limit":4095`}, false},
		{"low", 256, 256, nil, 120, []string{`"descriptors_needed":1200`, "LimitNOFILE"}, true},
		{"configured", 4096, 4096, setting(50), 50, []string{`"limited_by":"max_connections"`}, false},
		{"too much is configured", 1024, 1024, setting(5000), 824, []string{`"configured":5000`, `"descriptors_needed":5200`}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gateway.New(t, gateway.Options{Edit: tt.edit})
			g.StartThrough(limited(tt.soft, tt.hard)...)
			g.Start()
			if got := metric(t, g, "osa_connections_limit"); got != tt.want {
				t.Errorf("the limit is %v, want %v", got, tt.want)
			}
			log := g.Log()
			for _, part := range tt.log {
				if !strings.Contains(log, part) {
					t.Errorf("the log does not say %s", part)
				}
			}
			if warns := strings.Contains(log, "raise the hard limit"); warns != tt.warns {
				t.Errorf("the log warns: %v", warns)
			}
			if tt.edit != nil {
				return
			}
			if err := g.Reload(g.WriteConfig("Caddyfile.2", setting(30))); err != nil {
				t.Fatal(err)
			}
			if got := metric(t, g, "osa_connections_limit"); got != 30 {
				t.Errorf("after a reload the limit is %v", got)
			}
			bad := g.WriteConfig("Caddyfile.3", setting(40))
			text, err := os.ReadFile(bad)
			if err != nil {
				t.Fatal(err)
			}
			// It fails when everything else has been started.
			if err := os.WriteFile(bad, append(text, "\nhttp://127.255.255.254:1 {\n\tbind 203.0.113.1\n}\n"...), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := g.Reload(bad); err == nil {
				t.Error("an address that is none of this machine's was taken")
			}
			if got := metric(t, g, "osa_connections_limit"); got != 30 {
				t.Errorf("after a failed reload the limit is %v", got)
			}
			for _, n := range []string{"0", "-1", "many"} {
				out := strings.Replace(string(text), "max_connections 40", "max_connections "+n, 1)
				if err := os.WriteFile(bad, []byte(out), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := g.Reload(bad); err == nil || !strings.Contains(err.Error(), "max_connections") {
					t.Errorf("max_connections %s: %v", n, err)
				}
			}
		})
	}
}
