package stream

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/tmaxmax/go-sse"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// useHTTP2 makes the site, and its client, speak HTTP/2 over TLS.
func (s *site) useHTTP2(t testing.TB) {
	s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t), ForceAttemptHTTP2: true}
}

// stuckConn is a stream that is not read.
type stuckConn struct {
	net.Conn
	tcp *net.TCPConn
	in  *bufio.Reader
}

// stuck opens a stream on a connection of its own, with as little room for what
// is not read as can be had, and reads no more of it than the first bytes.
func (s *site) stuck(t testing.TB, query string) *stuckConn {
	t.Helper()
	_, addr, _ := strings.Cut(s.URL, "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &stuckConn{Conn: conn, tcp: conn.(*net.TCPConn)}
	_ = c.tcp.SetReadBuffer(64 << 10)
	if s.tls != nil {
		c.Conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	}
	fmt.Fprintf(c, "GET /stream?%s HTTP/1.1\r\nHost: %s\r\n\r\n", query, addr)
	c.in = bufio.NewReaderSize(c, 16)
	if b, err := c.in.Peek(12); err != nil || string(b) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", b, err)
	}
	return c
}

// read goes on reading the stream.
func (c *stuckConn) read(t testing.TB) *reader {
	t.Helper()
	_ = c.tcp.SetReadBuffer(4 << 20)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReaderSize(c.in, 64<<10), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, resp: resp, stop: func() { c.Close() }, in: bufio.NewReader(resp.Body)}
	if m := r.next(); m.retry != "3000" {
		t.Fatalf("began with %.100v", m)
	}
	return r
}

// ways are the ways in which a stream may be carried.
func ways(t *testing.T) map[string]func(*site) {
	return map[string]func(*site){
		"HTTP/1.1": nil,
		"HTTP/1.1 over TLS": func(s *site) {
			s.client.Transport = &http.Transport{TLSClientConfig: s.useTLS(t)}
		},
		"HTTP/2": func(s *site) { s.useHTTP2(t) },
		"HTTP/3": func(s *site) {
			transport := &http3.Transport{TLSClientConfig: s.useTLS(t)}
			t.Cleanup(func() { transport.Close() })
			s.client.Transport = transport
		},
	}
}

// TestReloadKeepsStreams reloads, with other settings and a grace period that is
// soon over, while events come in.
func TestReloadKeepsStreams(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				if name != "HTTP/3" { // where it ends the connection
					s.http["grace_period"] = "10ms"
				}
				if way != nil {
					way(s)
				}
			})
			readers := []*reader{s.open(""), s.open("agent_ids=geo_audit"), s.open("last_event_id=evt_0")}
			for i := range 3 {
				s.publishN(100)
				s.stream["heartbeat"] = fmt.Sprintf("%ds", 20+i)
				s.load()
				s.publishN(100)
			}
			time.Sleep(50 * time.Millisecond) // beyond the grace period
			s.publishN(1)
			for _, r := range readers {
				if r.resp.ProtoMajor != map[string]int{"HTTP/2": 2, "HTTP/3": 3}[name] && r.resp.ProtoMajor != 1 {
					t.Errorf("spoke %s", r.resp.Proto)
				}
				wantIDs(t, r.ids(601), 1, 601)
			}
			if n := series(t, "osa_stream_open"); n != 3 {
				t.Errorf("%v open after the reload", n)
			}
			for _, r := range readers {
				r.close()
			}
			s.eventually("nobody is there", func() bool { return the.count() == 0 })
		})
	}
}

// TestAFailedReloadChangesNothing for streams, and their credentials are still
// checked.
func TestAFailedReloadChangesNothing(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.osa["auth"] = map[string]any{"test": map[string]any{"provider": "stream_test"}}
				if way != nil {
					way(s)
				}
			})
			id := t.Name()
			testPrincipals.Store(id, &osa.Principal{ID: id, WorkspaceID: "ws", Provider: "test", Permissions: []string{osa.PermEventsRead}})
			r, revoked := s.open(""), s.open("", "Authorization", id)
			s.publishN(2)
			s.stream["on_slow"] = "whatever"
			if err := loadErr(s); err == nil || !strings.Contains(err.Error(), "on_slow") {
				t.Fatalf("loaded: %v", err)
			}
			s.publishN(2)
			wantIDs(t, r.ids(4), 1, 4)
			wantIDs(t, revoked.ids(4), 1, 4)
			testRevoked.Store(id, osa.RefusedRevoked)
			credentials.Changed()
			if rest := revoked.ended(); len(rest) != 1 || rest[0].event != "stream_end" || rest[0].data != `{"reason":"credential_revoked"}` {
				t.Errorf("ended with %+v", rest)
			}
			s.publishN(1)
			wantIDs(t, r.ids(1), 5, 5)
			r.close()
			revoked.close()
			s.eventually("nobody is there", func() bool { return the.count() == 0 })
		})
	}
}

// TestStoreChangedByReload: streams of a log that is no more are sent away, to
// come back to the new one.
func TestStoreChangedByReload(t *testing.T) {
	s := newSite(t, nil)
	r := s.open("")
	s.osa["storage"].(map[string]any)["name"] = fmt.Sprintf("%s/other/%d", t.Name(), sites.Add(1))
	s.load()
	if rest := r.ended(); len(rest) != 1 || rest[0].retry == "" {
		t.Errorf("ended with %+v", rest)
	}
	s.ping()
	r = s.open("")
	s.publishN(1)
	wantIDs(t, r.ids(1), 1, 1)
}

// TestStuckReadersAreClosed: who reads nothing is closed after the write timeout and holds
// nobody up.
func TestStuckReadersAreClosed(t *testing.T) {
	for name, way := range ways(t) {
		if name == "HTTP/3" || name == "HTTP/2" {
			continue // a client library takes what comes; see TestStuckHTTP2Streams
		}
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.stream["write_timeout"] = "300ms"
				if way != nil {
					way(s)
				}
			})
			before := series(t, "osa_stream_closed_total", "reason", endTimeout)
			conn := s.stuck(t, "")
			r := s.open("")
			big := strings.Repeat("x", 100_000)
			n := 0
			s.eventually("the stuck stream is closed", func() bool {
				s.publish(&event.Event{WorkflowID: "w", Type: "error_notification", ErrorMessage: big})
				n++
				r.ids(1)
				return series(t, "osa_stream_closed_total", "reason", endTimeout) > before
			})
			_ = conn.tcp.SetReadBuffer(4 << 20)
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, conn); err != nil && os.IsTimeout(err) {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestSlowPolicies over a connection: what a reader that was stuck for a while
// gets when it reads again.
func TestSlowPolicies(t *testing.T) {
	const n, size = 3000, 20_000
	for policy, check := range map[string]func(*testing.T, []message){
		"catch_up": func(t *testing.T, got []message) {
			for i, m := range got {
				if m.id != event.FormatID(uint64(i+1)) {
					t.Fatalf("event %d is %s", i+1, m.id)
				}
			}
		},
		"latest": func(t *testing.T, got []message) {
			gaps := 0
			for _, m := range got {
				if m.event == "gap" {
					gaps++
				}
			}
			if gaps == 0 || len(got) >= n {
				t.Errorf("%d events with %d gaps, from %s to %s", len(got), gaps, got[0].id, got[len(got)-1].id)
			}
		},
		"disconnect": func(t *testing.T, got []message) {
			if last := got[len(got)-1]; last.event != "stream_end" || last.data != `{"reason":"slow_consumer"}` {
				t.Errorf("ended with %.100v", last)
			}
		},
	} {
		t.Run(policy, func(t *testing.T) {
			s := newSite(t, nil)
			conn := s.stuck(t, "slow="+policy)
			big := strings.Repeat("x", size)
			for range n {
				s.publish(&event.Event{WorkflowID: "w", Type: "error_notification", ErrorMessage: big})
			}
			events, err := testApp.Load().Hub(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.eventually("the hub has published all", func() bool { return events.Stats().Lag == 0 })
			var got []message
			for r := conn.read(t); ; {
				m, ok := r.read()
				if !ok {
					break
				}
				got = append(got, m)
				if m.id == event.FormatID(n) {
					break
				}
			}
			if len(got) == 0 {
				t.Fatal("nothing came")
			}
			check(t, got)
		})
	}
}

// TestServerTimeoutsDoNotEndStreams: they bound an exchange, and a stream has no
// end to be bounded by.
func TestServerTimeoutsDoNotEndStreams(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.server["read_timeout"], s.server["write_timeout"] = "100ms", "100ms"
				s.server["write_idle_timeout"], s.server["read_idle_timeout"] = "100ms", "100ms"
				s.stream["heartbeat"] = "250ms"
				if way != nil {
					way(s)
				}
			})
			r := s.open("event_types=custom")
			for range 3 {
				if m := r.next(); m.comment != "heartbeat" {
					t.Errorf("got %+v", m)
				}
			}
			s.publish(&event.Event{WorkflowID: "w", Type: "custom"})
			wantIDs(t, r.ids(1), 1, 1)
		})
	}
}

// TestEncodeLeavesStreamsAlone: `encode` before the stream must not hold it back.
func TestEncodeLeavesStreamsAlone(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.server["routes"] = []any{map[string]any{"handle": []any{
			map[string]any{"handler": "headers", "response": map[string]any{"deferred": true, "set": map[string]any{"X-Deferred": []string{"yes"}}}},
			map[string]any{"handler": "encode", "encodings": map[string]any{"gzip": map[string]any{}}, "minimum_length": 1,
				"match": map[string]any{"headers": map[string]any{"Content-Type": []string{"text/*"}}}},
			s.auth, s.stream,
		}}}
	})
	r := s.open("", "Accept-Encoding", "gzip")
	s.publishN(1)
	wantIDs(t, r.ids(1), 1, 1)
	if h := r.resp.Header; h.Get("Content-Encoding") != "" || h.Get("X-Deferred") != "yes" {
		t.Errorf("header %v", h)
	}
}

// TestRealClient has a client library reconnect by itself.
func TestRealClient(t *testing.T) {
	s := newSite(t, func(s *site) { s.stream["heartbeat"] = "20ms" })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.publishN(5)
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/stream?last_event_id=evt_0", nil)
	client := &sse.Client{HTTPClient: s.client, Backoff: sse.Backoff{InitialInterval: time.Millisecond}}
	conn := client.NewConnection(req)
	got := make(chan sse.Event, 100)
	conn.SubscribeToAll(func(e sse.Event) {
		// The library dispatches fields without data, which the specification
		// does not.
		if e.Type != "performance_metric_update" && e.Data != "" {
			got <- e
		}
	})
	done := make(chan error, 1)
	go func() { done <- conn.Connect() }()
	next := func() sse.Event {
		t.Helper()
		select {
		case e := <-got:
			return e
		case <-ctx.Done():
			t.Fatal("nothing came")
			panic("")
		}
	}
	var ids []string
	for range 5 {
		e := next()
		if e.Type != "agent_status_change" || !strings.HasPrefix(e.Data, `{"workflow_id":"wf"`) {
			t.Errorf("got %+v", e)
		}
		ids = append(ids, e.LastEventID)
	}
	s.client.Transport.(*http.Transport).CloseIdleConnections()
	the.sendAway(t)
	s.publishN(5) // while it is away, or not
	for range 5 {
		ids = append(ids, next().LastEventID)
	}
	wantIDs(t, ids, 1, 10)
	cancel()
	<-done
}

// sendAway ends the open streams as an exit would, and lets new ones come.
func (t *registry) sendAway(tb testing.TB) {
	t.drain()
	for deadline := time.Now().Add(10 * time.Second); t.count() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatal("streams stay")
		}
	}
	t.mu.Lock()
	t.leaving = false
	t.mu.Unlock()
}
