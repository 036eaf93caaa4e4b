package stream

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"
)

// message is what a reader dispatches, comments and fields apart.
type message struct {
	id, event, data string
	retry, comment  string
}

// reader reads one stream as the WHATWG specification parses it, and keeps what
// that leaves out.
type reader struct {
	t    testing.TB
	resp *http.Response
	stop context.CancelFunc
	in   *bufio.Reader
}

// open opens a stream as an EventSource does.
func (s *site) open(query string, header ...string) *reader {
	s.t.Helper()
	r := s.try(query, append([]string{"Accept", "text/event-stream"}, header...)...)
	if r.resp.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d", r.resp.StatusCode)
	}
	if m := r.next(); m.retry != "3000" {
		s.t.Fatalf("began with %+v", m)
	}
	return r
}

func (s *site) try(query string, header ...string) *reader {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/stream?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &reader{t: s.t, resp: resp, stop: cancel, in: bufio.NewReader(resp.Body)}
	s.t.Cleanup(r.close)
	return r
}

func (r *reader) close() {
	r.stop()
	r.resp.Body.Close()
}

// read reads one block; ok is false at the end of the stream.
func (r *reader) read() (m message, ok bool) {
	timer := time.AfterFunc(20*time.Second, r.stop)
	defer timer.Stop()
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			if line != "" {
				r.t.Errorf("the stream ended within %q", line)
			}
			return m, false
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return m, true
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			m.comment += value
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "retry":
			m.retry = value
		case "data":
			if m.data != "" {
				r.t.Errorf("data on two lines after %q", m.data)
			}
			m.data = value
		default:
			r.t.Errorf("line %q", line)
		}
	}
}

// next reads one block; the stream must not end.
func (r *reader) next() message {
	r.t.Helper()
	m, ok := r.read()
	if !ok {
		r.t.Fatal("the stream has ended")
	}
	return m
}

// ids reads n events and returns their ids, passing over comments.
func (r *reader) ids(n int) (ids []string) {
	r.t.Helper()
	for len(ids) < n {
		if m := r.next(); m.id != "" {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// ended reads to the end and returns what came before it.
func (r *reader) ended() (rest []message) {
	r.t.Helper()
	for {
		m, ok := r.read()
		if !ok {
			return rest
		}
		rest = append(rest, m)
	}
}

func wantIDs(t testing.TB, got []string, from, to int) {
	t.Helper()
	var want []string
	for i := from; i <= to; i++ {
		want = append(want, fmt.Sprintf("evt_%d", i))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
}
