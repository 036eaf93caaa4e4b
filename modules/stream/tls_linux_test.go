package stream

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// secureWire is a connection over TLS without a client library.
func (s *site) secureWire(t *testing.T, version uint16) (*tls.Conn, *net.TCPConn) {
	t.Helper()
	_, addr, _ := strings.Cut(s.URL, "://")
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: version})
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	s.eventually("taken over", func() bool { return reactor.Active() == 1 })
	return conn, raw.(*net.TCPConn)
}

// TestTLSClientsLeave in all ways there are: a close_notify alert is an end too.
func TestTLSClientsLeave(t *testing.T) {
	for name, leave := range map[string]func(*tls.Conn, *net.TCPConn){
		"close":                 func(c *tls.Conn, _ *net.TCPConn) { _ = c.Close() },
		"close_notify alone":    func(c *tls.Conn, _ *net.TCPConn) { _ = c.CloseWrite() },
		"a cut":                 func(_ *tls.Conn, c *net.TCPConn) { _ = c.Close() },
		"a reset":               func(_ *tls.Conn, c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"half a record":         func(_ *tls.Conn, c *net.TCPConn) { _, _ = c.Write([]byte{23, 3, 3}); _ = c.CloseWrite() },
		"what is no TLS":        func(_ *tls.Conn, c *net.TCPConn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") },
		"after another request": func(c *tls.Conn, _ *net.TCPConn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); _ = c.Close() },
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				s := newSite(t, func(s *site) { s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t)} })
				before := totals.closed[endClient].Load()
				conn, raw := s.secureWire(t, version)
				leave(conn, raw)
				s.eventually("gone", func() bool { return the.count() == 0 })
				if n := totals.closed[endClient].Load() - before; n != 1 {
					t.Errorf("counted %d times", n)
				}
			})
		}
	}
}

// TestTLSClientsThatTalk hold nobody up and go on being sent to.
func TestTLSClientsThatTalk(t *testing.T) {
	s := newSite(t, func(s *site) { s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t)} })
	conn, raw := s.secureWire(t, 0)
	_, _ = raw.Write([]byte{23, 3}) // half a record's header, and nothing after it
	s.publishN(500)
	seen := new(strings.Builder)
	for buf := make([]byte, 4096); !strings.Contains(seen.String(), "id: evt_500\n"); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(buf[:n])
	}
}

// TestTLSEndsInGoodOrder: a client is told with an alert that nothing more comes.
func TestTLSEndsInGoodOrder(t *testing.T) {
	s := newSite(t, func(s *site) { s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t)} })
	conn, _ := s.secureWire(t, 0)
	s.publish(&event.Event{WorkflowID: "w", Type: "error_notification", ErrorMessage: strings.Repeat("x", 300_000)})
	the.sendAway(t)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("ended with %v", err)
	}
	if !strings.HasSuffix(string(got), "\n\n") || !strings.Contains(string(got[max(0, len(got)-40):]), "retry: ") {
		t.Errorf("the last is %q", got[max(0, len(got)-100):])
	}
}
