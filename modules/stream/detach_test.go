package stream

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// handling is how many requests are in Caddy's handlers.
func handling() int {
	for buf := make([]byte, 1<<20); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return strings.Count(string(buf[:n]), "caddyhttp.(*Server).ServeHTTP(")
		}
	}
}

// TestHandlersReturn: a stream over HTTP/2 holds none of Caddy's handlers, unless it
// has to, and goes on without them.
func TestHandlersReturn(t *testing.T) {
	for name, c := range map[string]struct {
		kept   bool
		accept string
		want   int
	}{
		"EventSource": {accept: "text/event-stream"},
		"a list":      {accept: "application/json, text/event-stream;q=0.5"},
		"anything":    {accept: "*/*", want: 3},
		"kept":        {accept: "text/event-stream", kept: true, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.useHTTP2(t)
				s.stream["keep_connections"] = c.kept
			})
			var readers []*reader
			for range 3 {
				readers = append(readers, s.open("", "Accept", c.accept))
			}
			s.publishN(10)
			for _, r := range readers {
				wantIDs(t, r.ids(10), 1, 10)
			}
			s.eventually("the handlers have returned", func() bool { return handling() == c.want })
			readers[0].close()
			s.eventually("one has left", func() bool { return the.count() == 2 })
			s.publishN(10)
			for _, r := range readers[1:] {
				wantIDs(t, r.ids(10), 11, 20)
			}
		})
	}
}

// TestDetachedPanic: what a handler panics with is net/http's to handle.
func TestDetachedPanic(t *testing.T) {
	d := &detacher{http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.ProtoMajor = 2
	r.Header.Set("Accept", "text/event-stream")
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("panicked with %v", err)
		}
	}()
	d.ServeHTTP(httptest.NewRecorder(), r)
}
