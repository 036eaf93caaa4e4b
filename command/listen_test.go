package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// noLeaks checks at the end of the test that nothing of it goes on.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// testListener follows the server, with waits too short to notice.
func testListener(url string, seen *[]message) *listener {
	return &listener{
		url: url, token: "opal_prod_test", client: streamClient(), silence: 5 * time.Second, baseWait: time.Millisecond,
		notice: func(string, ...any) {},
		print:  func(m message) error { *seen = append(*seen, m); return nil },
	}
}

func stream(w http.ResponseWriter, frames ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, f := range frames {
		fmt.Fprint(w, f)
	}
	_ = http.NewResponseController(w).Flush()
}

func frame(n int) string { return fmt.Sprintf("id: evt_%d\ndata: {\"n\":%d}\n\n", n, n) }

func TestListenResumes(t *testing.T) {
	noLeaks(t)
	var cursors []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cursors = append(cursors, r.Header.Get("Last-Event-ID")+" "+r.URL.RawQuery)
		if got := r.Header.Get("Authorization"); got != "Bearer opal_prod_test" {
			t.Errorf("Authorization is %q", got)
		}
		switch len(cursors) {
		case 1:
			stream(w, "retry: 2\n\n", frame(1), frame(2), "id: evt_3\ndata: {\"cut\":")
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable) // restarting
		case 3:
			stream(w, ": still nothing\n\n")
		default:
			stream(w, frame(3))
		}
	}))
	defer srv.Close()

	var seen []message
	l := testListener(srv.URL, &seen)
	l.max, l.history = 3, 20
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range seen {
		ids = append(ids, m.id)
	}
	if got, want := strings.Join(ids, " "), "evt_1 evt_2 evt_3"; got != want {
		t.Errorf("saw %s, want %s", got, want)
	}
	// The history is asked for once, the cursor stays through attempts that bring nothing.
	want := []string{" history=20&include_historical=true", "evt_2 ", "evt_2 ", "evt_2 "}
	if fmt.Sprint(cursors) != fmt.Sprint(want) {
		t.Errorf("asked for %q, want %q", cursors, want)
	}
}

func TestListenEnds(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"refused": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"error":"access_denied","message":"Insufficient permissions"}`)
			}, "403 access_denied: Insufficient permissions",
		},
		"bad filter": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":"validation_failed","message":"no","details":[{"field":"min_priority","message":"unknown"}]}`)
			}, "min_priority: unknown",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			var calls atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				tt.handler(w, r)
			}))
			defer srv.Close()
			var seen []message
			err := testListener(srv.URL, &seen).run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ended with %v, want %q", err, tt.want)
			}
			if calls.Load() != 1 {
				t.Errorf("asked %d times for what will not change", calls.Load())
			}
		})
	}
}

func TestListenNoticesSilence(t *testing.T) {
	noLeaks(t)
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			stream(w, frame(1))
			<-r.Context().Done() // says nothing more
			return
		}
		stream(w, frame(2))
	}))
	defer srv.Close()
	var seen []message
	l := testListener(srv.URL, &seen)
	l.silence, l.max = 20*time.Millisecond, 2
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestListenStopsWithItsContext(t *testing.T) {
	noLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream(w, frame(1))
		<-r.Context().Done()
	}))
	defer srv.Close()
	var seen []message
	l := testListener(srv.URL, &seen)
	l.print = func(message) error { cancel(); return nil }
	if err := l.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
