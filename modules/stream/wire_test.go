package stream

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/proxyprotocol"

	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// wire is a connection on which every byte is the test's own.
type wire struct {
	*net.TCPConn
	t   *testing.T
	in  *bufio.Reader
	err error // the first, of a read
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

func (s *site) dial(t *testing.T) *wire {
	t.Helper()
	_, addr, _ := strings.Cut(s.URL, "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	w := &wire{TCPConn: conn.(*net.TCPConn), t: t}
	w.in = bufio.NewReader(w)
	return w
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := io.WriteString(w, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")); err != nil {
		w.t.Fatal(err)
	}
}

// stream reads the head of the answer, which must be a stream's.
func (w *wire) stream() *reader {
	w.t.Helper()
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		w.t.Fatal(resp.Status)
	}
	r := &reader{t: w.t, resp: resp, stop: func() { w.Close() }, in: bufio.NewReader(resp.Body)}
	if m := r.next(); m.retry != "3000" {
		w.t.Fatalf("began with %+v", m)
	}
	return r
}

// takenOver is how many of the open streams have a connection without Caddy.
func takenOver() (n int) {
	for _, s := range the.streams() {
		if s.detached.Load() {
			n++
		}
	}
	return n
}

// TestOnTheWire: whatever a request looks like that asks for a stream, it gets
// one, and one that ends in order.
func TestOnTheWire(t *testing.T) {
	const host = "Host: x\n"
	for name, tt := range map[string]struct {
		request, later string
	}{
		"HTTP/1.1":                  {request: "GET /stream HTTP/1.1\n" + host + "\n"},
		"HTTP/1.1 to be closed":     {request: "GET /stream HTTP/1.1\nConnection: close\n" + host + "\n"},
		"HTTP/1.0":                  {request: "GET /stream HTTP/1.0\n\n"},
		"HTTP/1.0 to be kept alive": {request: "GET /stream HTTP/1.0\nConnection: keep-alive\n\n"},
		"a request pipelined":       {request: "GET /stream HTTP/1.1\n" + host + "\nGET /ping HTTP/1.1\n" + host + "\n"},
		"a body":                    {request: "GET /stream HTTP/1.1\nContent-Length: 5\n" + host + "\n12345"},
		"a body announced":          {request: "GET /stream HTTP/1.1\nContent-Length: 5\n" + host + "\n"},
		"a long body begun":         {request: "GET /stream HTTP/1.1\nContent-Length: 10000000\n" + host + "\n" + strings.Repeat("x", 100_000)},
		"chunks":                    {request: "GET /stream HTTP/1.1\nTransfer-Encoding: chunked\n" + host + "\n3\nabc\n0\n\n"},
		"chunks begun":              {request: "GET /stream HTTP/1.1\nTransfer-Encoding: chunked\n" + host + "\n3\nabc\n"},
		"more and more":             {request: "GET /stream HTTP/1.1\n" + host + "\n", later: strings.Repeat("GET /ping HTTP/1.1\n"+host+"\n", 1000)},
		"a body on demand":          {request: "GET /stream HTTP/1.1\nContent-Length: 5\nExpect: 100-continue\n" + host + "\n"},
		"an upgrade not known":      {request: "GET /stream HTTP/1.1\nConnection: upgrade\nUpgrade: dream\n" + host + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			w := s.dial(t)
			w.send("%s", tt.request)
			r := w.stream()
			if !r.resp.Close {
				t.Error("the answer has no end")
			}
			if len(r.resp.TransferEncoding) > 0 || r.resp.ContentLength >= 0 {
				t.Errorf("%v, length %d", r.resp.TransferEncoding, r.resp.ContentLength)
			}
			if reactor.Supported {
				s.eventually("taken over", func() bool { return takenOver() == 1 })
			}
			s.publishN(100)
			wantIDs(t, r.ids(100), 1, 100)
			w.send("%s", tt.later)
			the.sendAway(t)
			if rest := r.ended(); len(rest) != 1 || rest[0].retry == "" {
				t.Errorf("ended with %+v", rest)
			}
			// In order: what is left unread of the client must not reset it.
			if n, _ := io.Copy(io.Discard, w.in); n > 0 || w.err != io.EOF { //nolint:errorlint // as the connection gives it
				t.Errorf("%d bytes after the end, which is %v", n, w.err)
			}
		})
	}
}

// TestClientsLeaveOnTheWire in all ways there are.
func TestClientsLeaveOnTheWire(t *testing.T) {
	for name, leave := range map[string]func(*wire){
		"close":           func(w *wire) { w.Close() },
		"reset":           func(w *wire) { _ = w.SetLinger(0); w.Close() },
		"half close":      func(w *wire) { _ = w.CloseWrite() },
		"after pipelined": func(w *wire) { w.send("GET /ping HTTP/1.1\nHost: x\n\n"); w.Close() },
	} {
		for _, when := range []string{"idle", "at once"} {
			t.Run(name+" "+when, func(t *testing.T) {
				s := newSite(t, nil)
				before := totals.closed[endClient].Load()
				w := s.dial(t)
				w.send("GET /stream HTTP/1.1\nHost: x\n\n")
				if _, err := w.in.Peek(1); err != nil {
					t.Fatal(err)
				}
				if when == "idle" && reactor.Supported {
					s.eventually("taken over", func() bool { return takenOver() == 1 })
				}
				leave(w)
				s.eventually("gone", func() bool { return the.count() == 0 })
				if n := totals.closed[endClient].Load() - before; n != 1 {
					t.Errorf("counted %d times", n)
				}
			})
		}
	}
}

// TestUnsentBodyOverTLS: nothing waits for it, neither at the beginning nor at
// the end.
func TestUnsentBodyOverTLS(t *testing.T) {
	s := newSite(t, ways(t)["HTTP/1.1 over TLS"])
	testPrincipals.Store("wire", &osa.Principal{ID: "wire", WorkspaceID: "ws", ExpiresAt: time.Now().Add(300 * time.Millisecond), Permissions: []string{osa.PermEventsRead}})
	w := s.dial(t)
	conn := tls.Client(w.TCPConn, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: wire\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(raw), "data: {\"reason\":\"credential_expired\"}\n\n") {
		t.Errorf("ended with %q, %v", raw, err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the connection is not closed: %d, %v", n, err)
	}
}

func TestHeadOnTheWire(t *testing.T) {
	s := newSite(t, nil)
	w := s.dial(t)
	for range 2 { // the connection is kept
		w.send("HEAD /stream HTTP/1.1\nHost: x\n\n")
		resp, err := http.ReadResponse(w.in, &http.Request{Method: http.MethodHead})
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(resp, err)
		}
	}
	if the.count() != 0 {
		t.Error("a HEAD holds a stream")
	}
}

// TestListeners: connections that are not the kernel's own, but something that
// stands before them.
func TestListeners(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*site)
		first  string
		taken  bool
		ip     string
	}{
		"HTTP/1.1 alone": {change: func(s *site) { s.server["protocols"] = []string{"h1"} }, ip: "127.0.0.1"},
		"with h2c":       {change: func(s *site) { s.server["protocols"] = []string{"h1", "h2c"} }, taken: true, ip: "127.0.0.1"},
		"proxy protocol": {
			change: func(s *site) {
				s.server["listener_wrappers"] = []any{map[string]any{"wrapper": "proxy_protocol", "allow": []string{"127.0.0.1/32"}}}
			},
			first: "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\n", taken: true, ip: "192.0.2.7",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := plainSite(t, tt.change)
			s.load()
			t.Cleanup(func() { s.stop(t) })
			w := s.dial(t)
			w.send("%sGET /ping HTTP/1.1\nHost: x\n\n", tt.first)
			if resp, err := http.ReadResponse(w.in, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			w.send("GET /stream HTTP/1.1\nHost: x\n\n")
			r := w.stream()
			s.publishN(10)
			wantIDs(t, r.ids(10), 1, 10)
			if reactor.Supported && tt.taken {
				s.eventually("taken over", func() bool { return takenOver() == 1 })
			}
			s.publishN(10)
			wantIDs(t, r.ids(10), 11, 20)
			if open := the.streams(); len(open) != 1 || open[0].client.ip != tt.ip || open[0].detached.Load() != (tt.taken && reactor.Supported) {
				t.Errorf("%d open: %+v", len(open), open[0].show())
			}
		})
	}
}
