package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// served starts a gateway whose site is gateway.test.
func served(t *testing.T, scheme string, edit func(string) string) *gateway.Gateway {
	t.Helper()
	g := gateway.New(t, gateway.Options{Edit: edit})
	_, port, err := net.SplitHostPort(g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	g.Setenv("OSA_ADDRESS", scheme+"://gateway.test:"+port)
	g.StartOnly()
	return g
}

// exchange sends a request as it stands and reads the answer, whether or not all that it
// announces was sent.
func exchange(t *testing.T, conn net.Conn, request string) *gateway.Response {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &gateway.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestHosts: what is for a host that no site serves is 421, whatever it asks for,
// and not taken. /api/health answers to any.
func TestHosts(t *testing.T) {
	g := served(t, "http", nil)
	g.WaitReady()
	send := func(request string) *gateway.Response { return exchange(t, dial(t, g.Addr), request) }
	_, port, _ := net.SplitHostPort(g.Addr)

	event := gateway.Event("wf-host", "geo_audit", stamp(), nil)
	webhook := func(host string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-OSA-Signature: %s\r\nContent-Length: %d\r\n\r\n%s",
			gateway.WebhookPath, host, g.Sign(event, now()), len(event), event)
	}
	for name, request := range map[string]string{
		"a webhook by address":    webhook(g.Addr),
		"a webhook by name":       webhook("other.test"),
		"the root":                "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
		"a list":                  "GET /api/webhook-events HTTP/1.1\r\nHost: other.test\r\nAuthorization: Bearer " + g.Key + "\r\n\r\n",
		"metrics":                 "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a port":                  "GET / HTTP/1.1\r\nHost: other.test:" + port + "\r\n\r\n",
		"HTTP/1.0 without Host":   "GET / HTTP/1.0\r\n\r\n",
		"the absolute form":       "GET http://other.test/api/health/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
		"a trailing dot":          "GET / HTTP/1.1\r\nHost: gateway.test.\r\n\r\n",
		"an IPv6 literal":         "GET / HTTP/1.1\r\nHost: [::1]:" + port + "\r\n\r\n",
		"below the site's name":   "GET / HTTP/1.1\r\nHost: a.gateway.test\r\n\r\n",
		"POST health":             "POST /api/health HTTP/1.1\r\nHost: other.test\r\nContent-Length: 0\r\n\r\n",
		"a body that never comes": "POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 1000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := send(request)
			wantError(t, r, http.StatusMisdirectedRequest, "misdirected_request")
			if r.Header.Get("Content-Type") != "application/json" || strings.Contains(string(r.Body), "gateway.test") {
				t.Errorf("%v %s", r.Header, r.Body)
			}
		})
	}
	r := send("GET /x HTTP/1.1\r\nHost: other.test\r\nAccept: application/problem+json\r\nX-Request-ID: misled.1\r\n\r\n")
	if wantError(t, r, 421, "misdirected_request"); r.Header.Get("X-Request-Id") != "misled.1" || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%v", r.Header)
	}
	for name, request := range map[string]string{
		"by address":              "GET /api/health HTTP/1.1\r\nHost: " + g.Addr + "\r\n\r\n",
		"by name":                 "GET /api/health HTTP/1.1\r\nHost: other.test\r\n\r\n",
		"HEAD":                    "HEAD /api/health HTTP/1.1\r\nHost: other.test\r\n\r\n",
		"HTTP/1.0 without Host":   "GET /api/health HTTP/1.0\r\n\r\n",
		"the site's, upper case":  "GET /api/health HTTP/1.1\r\nHost: GATEWAY.TEST\r\n\r\n",
		"the site's, other port":  "GET /api/health HTTP/1.1\r\nHost: gateway.test:1\r\n\r\n",
		"the absolute form":       "GET http://gateway.test/api/health HTTP/1.1\r\nHost: other.test\r\n\r\n",
		"the absolute form, both": "GET http://other.test/api/health HTTP/1.1\r\nHost: other.test\r\n\r\n",
	} {
		t.Run("health "+name, func(t *testing.T) {
			r := send(request)
			if r.Status != http.StatusOK || r.Header.Get("X-Request-Id") == "" {
				t.Errorf("%d %v", r.Status, r.Header)
			}
			if !strings.HasPrefix(request, "HEAD") && !strings.Contains(string(r.Body), `"status"`) {
				t.Errorf("%s", r.Body)
			}
		})
	}

	// The site's own host is served, and nothing else was stored.
	if r := send(webhook("Gateway.Test:1")); r.Status != http.StatusOK || !strings.Contains(string(r.Body), `"processed"`) {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	list := send("GET /api/webhook-events HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer " + g.Key + "\r\n\r\n")
	if n := strings.Count(string(list.Body), `"id":"evt_`); list.Status != 200 || n != 1 {
		t.Errorf("%d, %d events: %.300s", list.Status, n, list.Body)
	}
	// Each is in the access log, as the client sent it and without what opens doors.
	logged := 0
	for line := range strings.Lines(g.RawLog()) {
		var entry struct {
			Logger  string
			Status  int
			Request struct {
				Host    string
				Headers map[string][]string
			}
		}
		if json.Unmarshal([]byte(line), &entry) != nil || !strings.HasPrefix(entry.Logger, "http.log.access") || entry.Status != 421 {
			continue
		}
		logged++
		if strings.EqualFold(entry.Request.Host, "gateway.test") {
			t.Errorf("logged as %s", line)
		}
	}
	if logged != 14 {
		t.Errorf("%d are in the access log", logged)
	}
	if strings.Contains(g.RawLog(), g.Key) {
		t.Error("a key is in the log")
	}
}

// TestHostsOverTLS: the same over TLS and HTTP/2, with strict SNI too. Somebody
// else's sites on the same server stay what they are, and so do redirects.
func TestHostsOverTLS(t *testing.T) {
	for _, strict := range []string{"insecure_off", "on"} {
		t.Run("strict_sni_host "+strict, func(t *testing.T) {
			secure, plain := freePort(t), freePort(t)
			g := served(t, "http", func(text string) string {
				if strict == "on" {
					text = gateway.Replace(t, text, "\tservers {\n", "\tservers {\n\t\tstrict_sni_host on\n")
				}
				text = gateway.Replace(t, text, "\tdefault_bind {$OSA_BIND}\n", "\tdefault_bind {$OSA_BIND}\n\tlocal_certs\n\tskip_install_trust\n\thttp_port "+plain+"\n")
				text = gateway.Replace(t, text, "\n{$OSA_ADDRESS:http://:3000} {\n", "\n{$OSA_ADDRESS:http://:3000}, https://gateway.test:"+secure+" {\n")
				return text + "\nhttps://theirs.test:" + secure + " {\n\trespond /only \"theirs\"\n}\n"
			})
			g.WaitReady()
			host, _, _ := net.SplitHostPort(g.Addr)
			for _, name := range []string{"gateway.test", "theirs.test"} {
				certified(t, net.JoinHostPort(host, secure), name)
			}
			get := func(proto int, sni, authority, path string) (*http.Response, string) {
				t.Helper()
				tr := &http.Transport{
					DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, secure))
					},
					ForceAttemptHTTP2: proto == 2,
					TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: sni}, //nolint:gosec // the gateway's own certificate
				}
				defer tr.CloseIdleConnections()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+authority+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := (&http.Client{Transport: tr, Timeout: within}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.ProtoMajor != proto {
					t.Fatalf("%s %v", resp.Proto, err)
				}
				return resp, string(body)
			}
			for _, proto := range []int{1, 2} {
				for _, tt := range []struct {
					sni, authority, path string
					status               int
					body                 string
				}{
					{"gateway.test", "gateway.test:" + secure, "/api/health", 200, `"status"`},
					{"gateway.test", "gateway.test", "/nothing", 404, "resource_not_found"},
					{"gateway.test", "other.test", "/x", 421, "misdirected_request"},
					{"gateway.test", "[::1]:" + secure, "/metrics", 421, "misdirected_request"},
					{"theirs.test", "theirs.test", "/only", 200, "theirs"},
					{"theirs.test", "theirs.test", "/api/health", 200, ""}, // Caddy's
					{"theirs.test", "other.test", "/only", 421, "misdirected_request"},
				} {
					resp, body := get(proto, tt.sni, tt.authority, tt.path)
					if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) || (tt.body == "" && body != "") {
						t.Errorf("HTTP/%d %s %s: %d %s", proto, tt.authority, tt.path, resp.StatusCode, body)
					}
				}
				// With strict SNI the host that is none is refused before any site is
				// looked for.
				resp, body := get(proto, "gateway.test", "other.test", "/api/health")
				if want := map[string]int{"on": 421, "insecure_off": 200}[strict]; resp.StatusCode != want || (want == 421) != strings.Contains(body, `"misdirected_request"`) {
					t.Errorf("HTTP/%d, health of another host: %d %s", proto, resp.StatusCode, body)
				}
				if resp.Header.Get("X-Request-Id") == "" {
					t.Errorf("HTTP/%d, health of another host: %v", proto, resp.Header)
				}
			}
			r := exchange(t, dial(t, net.JoinHostPort(host, plain)), "GET /x HTTP/1.1\r\nHost: theirs.test\r\n\r\n")
			if r.Status != http.StatusPermanentRedirect {
				t.Errorf("the redirect to HTTPS: %d %v", r.Status, r.Header)
			}
		})
	}
}

// certified waits until a server has its certificate for a name.
func certified(t *testing.T, addr, name string) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: name}) //nolint:gosec // the gateway's own certificate
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// freePort is a port of a gateway's host that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(gateway.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
