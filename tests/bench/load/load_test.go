package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEventsAreDistinctAndOfOneSize(t *testing.T) {
	type head struct {
		Type      string `json:"event_type"`
		Timestamp string
		Workflow  string `json:"workflow_id"`
		Agent     string `json:"agent_id"`
		Data      map[string]any
	}
	seen := make(map[string]bool)
	runs, kinds := make(map[string]int), make(map[string]int)
	for _, seed := range []uint64{1, 2} {
		g := NewEvents(0, seed)
		for range 10 * eventsPerRun {
			body := g.Append(nil)
			if len(body) != DefaultBodySize {
				t.Fatalf("%d bytes: %s", len(body), body)
			}
			var h head
			if err := json.Unmarshal(body, &h); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if h.Data["results"] == nil {
				t.Fatalf("no results: %s", body)
			}
			runs[h.Workflow]++
			kinds[h.Type]++
			key := h
			key.Data = nil
			id := fmt.Sprint(key)
			if seen[id] {
				t.Fatalf("%s came twice", id)
			}
			seen[id] = true
		}
	}
	if len(runs) != 20 || kinds["agent_status_update"] != 20*18 || kinds["workflow_progress"] != 20 || kinds["workflow_completion"] != 20 {
		t.Errorf("%d workflows, %v", len(runs), kinds)
	}
}

// receiver answers as the gateway does, and 503 to every fifth.
func receiver(t *testing.T, secret string) (*httptest.Server, func() int) {
	k := signature.NewSecret("a", []byte(secret), time.Time{}, time.Time{})
	var mu sync.Mutex
	bodies := make(map[string]bool)
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := signature.NewOSA(0).Verify(r.Header, body, []*signature.Secret{k}, time.Now()); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if n++; n%5 == 0 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		status := "processed"
		if bodies[string(body)] {
			status = "duplicate"
		}
		bodies[string(body)] = true
		fmt.Fprintf(w, `{"status":%q,"filler":"%s"}`, status, strings.Repeat("x", n%1900))
	}))
	t.Cleanup(s.Close)
	return s, func() int { mu.Lock(); defer mu.Unlock(); return len(bodies) }
}

func TestRun(t *testing.T) {
	secret := strings.Repeat("k3", 20)
	for _, tt := range []struct {
		name string
		o    Options
	}{
		{"closed loop", Options{Connections: 8, Requests: 500}},
		{"open loop", Options{Connections: 8, Requests: 500, Rate: 5000}},
		{"one connection", Options{Connections: 1, Requests: 500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, stored := receiver(t, secret)
			tt.o.Target = Target{Address: s.Listener.Addr().String(), Path: "/hook", Secret: secret}
			tt.o.Source = Prepare(tt.o.Target, NewEvents(0, 7), 1000)
			got, err := Run(context.Background(), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if got.Requests != 500 || got.Status[200] != 400 || got.Status[503] != 100 || got.RetryAfter != 100 ||
				got.Processed != 400 || got.Errors != 0 || got.Unanswered != 0 {
				t.Errorf("got %+v", got)
			}
			if n := stored(); n != 400 {
				t.Errorf("the server has %d distinct bodies", n)
			}
			if got.Accepted.TotalCount() != 400 || got.Refused.TotalCount() != 100 {
				t.Errorf("%d and %d latencies", got.Accepted.TotalCount(), got.Refused.TotalCount())
			}
		})
	}
}

func TestLiveAndRepeatedSources(t *testing.T) {
	secret := strings.Repeat("k3", 20)
	s, _ := receiver(t, secret)
	target := Target{Address: s.Listener.Addr().String(), Path: "/hook", Secret: secret}
	live, err := Run(context.Background(), Options{Target: target, Source: NewLive(target, NewEvents(0, 1)), Connections: 3, Requests: 50})
	if err != nil || live.Processed != 40 {
		t.Fatalf("live: %+v, %v", live, err)
	}
	p := Prepare(target, NewEvents(0, 2), 10)
	for i := range 2 { // each time the fifth and the tenth are refused
		got, err := Run(context.Background(), Options{Target: target, Source: p, Connections: 1})
		if err != nil || got.Processed != 8-8*i || got.Duplicate != 8*i {
			t.Fatalf("%d: %+v, %v", i, got, err)
		}
		p.Rewind()
	}
}

func TestAServerThatGoesAwayEndsTheRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Read(make([]byte, 10))
		}
		l.Close()
	}()
	target := Target{Address: l.Addr().String(), Path: "/"}
	got, err := Run(context.Background(), Options{Target: target, Source: NewLive(target, NewEvents(0, 1)), Connections: 2, Patience: 1})
	<-gone
	if err != nil || got.Requests != 0 || got.Errors == 0 || got.FirstError == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestResponse(t *testing.T) {
	long := strings.Repeat("y", 10_000)
	for _, tt := range []struct {
		name, in string
		status   int
		bad      bool
	}{
		{"empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, false},
		{"with a body", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 3\r\n\r\nabc", 503, false},
		{"a long body", "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + long, 200, false},
		{"no length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, true},
		{"more than asked for", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", 0, true},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 0, true},
		{"an endless header", "HTTP/1.1 200 OK\r\nX: " + long, 0, true},
	} {
		for _, step := range []int{1, 7, 4096} {
			t.Run(fmt.Sprint(tt.name, step), func(t *testing.T) {
				var r response
				in, done, err := tt.in, false, error(nil)
				for !done && err == nil && in != "" {
					n := copy(r.room()[:min(step, len(r.room()))], in)
					in = in[n:]
					done, err = r.took(n)
				}
				if (err != nil || !done || in != "") != tt.bad {
					t.Fatalf("done %v, err %v, %d bytes left", done, err, len(in))
				}
				if !tt.bad && r.status != tt.status {
					t.Errorf("status %d", r.status)
				}
			})
		}
	}
}
