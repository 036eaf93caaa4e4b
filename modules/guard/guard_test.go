package guard_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/modules/guard"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

func init() {
	chaintest.Register("osa_guard", guard.ParseGuard)
	chaintest.Register("osa_error", guard.ParseError)
}

const site = `
	route {
		osa_guard {
			max_body 1000B
		}
		probe echo
	}
	handle_errors {
		osa_error
	}`

// start runs site with a probe that answers with what it was given.
func start(t *testing.T, site string) *chaintest.Server {
	t.Helper()
	chaintest.Handle("echo", func(w http.ResponseWriter, r *http.Request) error {
		body, err := requestbody.Read(r)
		if err != nil {
			return err
		}
		again, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if !bytes.Equal(body, again) || (len(body) > 0 && r.ContentLength != int64(len(body))) {
			return fmt.Errorf("requestbody.Read has %d bytes, Body %d, Content-Length %d", len(body), len(again), r.ContentLength)
		}
		h := w.Header()
		h.Set("Seen-Request-Id", osa.RequestID(r))
		h.Set("Seen-Correlation-Id", osa.CorrelationID(r))
		h.Set("Seen-Type", r.Header.Get("Content-Type"))
		h.Set("Upstream-Request-Id", r.Header.Get("X-Request-ID"))
		h.Set("Upstream-Correlation-Id", r.Header.Get("X-Correlation-ID"))
		_, err = w.Write(body)
		return err
	})
	return chaintest.Start(t, site)
}

type problem struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
	Timestamp string `json:"timestamp"`
}

// check is what holds of every error.
func check(t *testing.T, r chaintest.Response, status int, code string) {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("status %d, want %d: %.200s", r.StatusCode, status, r.Body)
	}
	var p problem
	if err := json.Unmarshal([]byte(r.Body), &p); err != nil {
		t.Fatalf("%v: %q", err, r.Body)
	}
	if p.Error != code || p.Message == "" || p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-ID") {
		t.Errorf("want code %s and the request's id %q: %s", code, r.Header.Get("X-Request-ID"), r.Body)
	}
	if at, err := time.Parse(time.RFC3339, p.Timestamp); err != nil || !strings.HasSuffix(p.Timestamp, "Z") || time.Since(at) > time.Minute {
		t.Errorf("timestamp %q", p.Timestamp)
	}
}

func TestContentType(t *testing.T) {
	s := start(t, site)
	const object = ` {"workflow_id":"wf"} `
	bearer := http.Header{"Authorization": {"bearer x"}}
	for _, tt := range []struct {
		name   string
		header http.Header
		body   string
		status int
		seen   string
	}{
		{"JSON", http.Header{"Content-Type": {"application/json"}}, object, 200, "application/json"},
		{"upper case", http.Header{"Content-Type": {"Application/JSON"}}, object, 200, "Application/JSON"},
		{"charset", http.Header{"Content-Type": {"application/json ; charset=utf-8"}}, object, 200, "application/json ; charset=utf-8"},
		{"+json", http.Header{"Content-Type": {"application/cloudevents+json"}}, object, 200, "application/cloudevents+json"},
		{"identity", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}}, object, 200, "application/json"},
		{"no body", http.Header{"Content-Type": {"text/html"}}, "", 200, "text/html"},
		{"none", nil, object, 415, ""},
		{"empty", http.Header{"Content-Type": {""}}, object, 415, ""},
		{"text", http.Header{"Content-Type": {"text/plain"}}, object, 415, ""},
		{"jsonp", http.Header{"Content-Type": {"application/jsonp"}}, object, 415, ""},
		{"+json without a name", http.Header{"Content-Type": {"application/+json"}}, object, 415, ""},
		{"two headers", http.Header{"Content-Type": {"application/json", "application/json"}}, object, 415, ""},
		{"joined headers", http.Header{"Content-Type": {"application/json, application/json"}}, object, 415, ""},
		{"gzip", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, object, 415, ""},
		{"two encodings", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity", "gzip"}}, object, 415, ""},
		{"form", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, object, 415, ""},
		{"form and bearer", with(bearer, "Content-Type", "application/x-www-form-urlencoded"), object, 200, "application/json"},
		{"form and bearer, not JSON", with(bearer, "Content-Type", "application/x-www-form-urlencoded"), "a=b", 415, ""},
		{"form and bearer, array", with(bearer, "Content-Type", "application/x-www-form-urlencoded"), "[1]", 415, ""},
		{"form and bearer, cut short", with(bearer, "Content-Type", "application/x-www-form-urlencoded"), `{"a":`, 415, ""},
		{"form and basic", http.Header{"Authorization": {"Basic YTpi"}, "Content-Type": {"application/x-www-form-urlencoded"}}, object, 415, ""},
		{"form and empty bearer", http.Header{"Authorization": {"Bearer "}, "Content-Type": {"application/x-www-form-urlencoded"}}, object, 415, ""},
		{"bearer without type", bearer, object, 415, ""},
	} {
		for name, body := range map[string]io.Reader{
			"": strings.NewReader(tt.body),
			// Hides its length, so that the client has to send chunks.
			" chunked": struct{ io.Reader }{strings.NewReader(tt.body)},
		} {
			t.Run(tt.name+name, func(t *testing.T) {
				r := s.Send("POST", "/", tt.header, body)
				if tt.status == 200 {
					if r.StatusCode != 200 || r.Body != tt.body || r.Header.Get("Seen-Type") != tt.seen {
						t.Fatalf("%d %q, type %q", r.StatusCode, r.Body, r.Header.Get("Seen-Type"))
					}
					return
				}
				check(t, r, 415, "unsupported_media_type")
				if !strings.Contains(r.Body, `"accepted_content_types":["application/json","application/*+json"]`) || r.Header.Get("Accept") == "" {
					t.Errorf("does not say what is accepted: %s", r.Body)
				}
			})
		}
	}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

func TestSize(t *testing.T) {
	s := start(t, site)
	header := http.Header{"Content-Type": {"application/json"}}
	for _, size := range []int{1, 999, 1000, 1001, 100_000} {
		for name, body := range map[string]io.Reader{
			"with length": strings.NewReader(strings.Repeat("x", size)),
			"chunked":     struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))},
		} {
			t.Run(fmt.Sprint(size, " ", name), func(t *testing.T) {
				r := s.Send("POST", "/", header, body)
				if size > 1000 {
					check(t, r, 413, "payload_too_large")
					if !strings.Contains(r.Body, `"max_bytes":1000`) {
						t.Error(r.Body)
					}
				} else if r.StatusCode != 200 || len(r.Body) != size {
					t.Fatalf("%d with %d bytes", r.StatusCode, len(r.Body))
				}
			})
		}
	}
	t.Run("size before type", func(t *testing.T) {
		check(t, s.Send("POST", "/", nil, strings.NewReader(strings.Repeat("x", 1001))), 413, "payload_too_large")
	})
	t.Run("ends early", func(t *testing.T) {
		r := s.SendRaw("POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{}")
		check(t, r, 400, "validation_failed")
	})
	t.Run("chunks end early", func(t *testing.T) {
		r := s.SendRaw("POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
		check(t, r, 400, "validation_failed")
	})
	// Refused at once, though the rest never comes; and the answer is not lost
	// with the connection.
	const head = "POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: "
	for name, request := range map[string]string{
		"lies about its length":  head + "application/json\r\nContent-Length: 999999999999\r\n\r\n{}",
		"waits to be asked":      head + "application/json\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n",
		"chunks that do not end": head + "application/json\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			check(t, s.SendRawAndWait(request), 413, "payload_too_large")
		})
	}
	t.Run("chunks of another type that do not end", func(t *testing.T) {
		check(t, s.SendRawAndWait(head+"text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), 415, "unsupported_media_type")
	})
}

func TestLargeBodiesArriveWhole(t *testing.T) {
	s := start(t, `
		route {
			osa_guard
			probe echo
		}
		handle_errors {
			osa_error
		}`)
	header := http.Header{"Content-Type": {"application/json"}}
	for _, size := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000, 10 << 20} {
		body := strings.Repeat("0123456789abcde", size/15+1)[:size]
		for name, rd := range map[string]io.Reader{"length": strings.NewReader(body), "chunked": struct{ io.Reader }{strings.NewReader(body)}} {
			if r := s.Send("POST", "/", header, rd); r.StatusCode != 200 || r.Body != body {
				t.Errorf("%d bytes, %s: %d with %d bytes", size, name, r.StatusCode, len(r.Body))
			}
		}
	}
	check(t, s.Send("POST", "/", header, strings.NewReader(strings.Repeat("x", 10<<20+1))), 413, "payload_too_large")
}

// TestInflight: while one large body is held, there is no room for another; once
// it is answered there is.
func TestInflight(t *testing.T) {
	holding, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	s := start(t, `
		route {
			osa_guard {
				max_body 60000B
				max_inflight 100000B
			}
			@hold path /hold
			probe @hold hold
			probe echo
		}
		handle_errors {
			osa_error
		}`)
	chaintest.Handle("hold", func(w http.ResponseWriter, r *http.Request) error {
		if _, err := requestbody.Read(r); err != nil {
			return err
		}
		close(holding)
		<-held
		return nil
	})
	t.Cleanup(release) // before the server stops, or that would wait
	header := http.Header{"Content-Type": {"application/json"}}
	body := strings.Repeat("x", 60_000)
	done := make(chan chaintest.Response)
	go func() { done <- s.Send("POST", "/hold", header, strings.NewReader(body)) }()
	<-holding

	r := s.Send("POST", "/", header, strings.NewReader(body))
	check(t, r, 503, "service_unavailable")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if r := s.Send("POST", "/", header, strings.NewReader("{}")); r.StatusCode != 200 {
		t.Errorf("a small body found no room: %d", r.StatusCode)
	}
	if r := s.Send("GET", "/", nil, nil); r.StatusCode != 200 {
		t.Errorf("a request without body found no room: %d", r.StatusCode)
	}
	release()
	if r := <-done; r.StatusCode != 200 {
		t.Errorf("held request: %d", r.StatusCode)
	}
	if r := s.Send("POST", "/", header, strings.NewReader(body)); r.StatusCode != 200 {
		t.Errorf("room was not given back: %d %s", r.StatusCode, r.Body)
	}
}

func TestIDs(t *testing.T) {
	s := start(t, site)
	long := strings.Repeat("a", 128)
	for _, id := range []string{"a", "0.b_c:d/e+f=g@h-i", long, "01890a5d-ac96-774b-bcce-b302099a8057"} {
		r := s.Send("GET", "/", http.Header{"X-Request-Id": {id}, "X-Correlation-Id": {id}}, nil)
		for _, name := range []string{"X-Request-ID", "Seen-Request-ID", "Upstream-Request-ID", "X-Correlation-ID", "Seen-Correlation-ID", "Upstream-Correlation-ID"} {
			if r.Header.Get(name) != id {
				t.Errorf("%s is %q, want %q", name, r.Header.Get(name), id)
			}
		}
	}
	seen := map[string]bool{}
	for _, ids := range [][]string{nil, {""}, {long + "a"}, {"a b"}, {"a\tb"}, {`"a"`}, {"<a>"}, {"é"}, {"a,b"}, {"a", "b"}, {"{a}"}} {
		h := http.Header{"X-Request-Id": ids, "X-Correlation-Id": ids}
		r := s.Send("GET", "/", h, nil)
		id := r.Header.Get("X-Request-ID")
		if len(id) < 20 || seen[id] || id != r.Header.Get("Seen-Request-ID") || id != r.Header.Get("Upstream-Request-ID") {
			t.Errorf("%q: made %q, seen %q, upstream %q", ids, id, r.Header.Get("Seen-Request-ID"), r.Header.Get("Upstream-Request-ID"))
		}
		seen[id] = true
		if got := r.Header.Get("X-Correlation-ID") + r.Header.Get("Seen-Correlation-ID") + r.Header.Get("Upstream-Correlation-ID"); got != "" {
			t.Errorf("%q: carried the correlation id %q", ids, got)
		}
	}
}

func TestPanics(t *testing.T) {
	s := start(t, `
		route {
			osa_guard
			probe panic
		}
		handle_errors {
			osa_error
		}`)
	chaintest.Handle("panic", func(w http.ResponseWriter, r *http.Request) error {
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/begun":
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic("too late")
		case "/begun-error":
			_ = http.NewResponseController(w).Flush()
			return errors.New("too late")
		}
		panic("on purpose")
	})
	r := s.Send("POST", "/", http.Header{"Content-Type": {"application/json"}}, strings.NewReader("{}"))
	check(t, r, 500, "internal_server_error")
	if strings.Contains(r.Body, "purpose") {
		t.Error("tells the client the reason")
	}
	if log := s.Log(); !strings.Contains(log, "on purpose") || !strings.Contains(log, r.Header.Get("X-Request-ID")) {
		t.Error("does not log the reason with the request id")
	}
	for _, path := range []string{"/abort", "/begun", "/begun-error"} {
		resp, err := s.Get(s.URL + path)
		if err == nil {
			var b []byte
			b, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if bytes.Contains(b, []byte("error")) {
				t.Errorf("%s: the error was written into the response: %q", path, b)
			}
		}
		if err == nil {
			t.Errorf("%s: the response looks whole", path)
		}
	}
}

func TestGuardRefusesWrongConfigurations(t *testing.T) {
	for config, want := range map[string]string{
		"osa_guard x":                                                             "wrong argument count",
		"osa_guard {\n max_body\n}":                                               "wrong argument count",
		"osa_guard {\n max_body 1MB 2MB\n}":                                       "wrong argument count",
		"osa_guard {\n max_body many\n}":                                          "max_body",
		"osa_guard {\n max_body 0\n}":                                             "out of range",
		"osa_guard {\n max_body 1MB\n max_body 2MB\n}":                            "max_body was already given",
		"osa_guard {\n max_inflight 1MB\n max_inflight 1MB\n}":                    "max_inflight was already given",
		"osa_guard {\n content_types\n}":                                          "wrong argument count",
		"osa_guard {\n content_types a/b\n content_types a/b\n}":                  "content_types was already given",
		"osa_guard {\n max_size 1MB\n}":                                           `unknown option "max_size"`,
		"osa_guard {\n content_types json\n}":                                     `content type "json"`,
		"osa_guard {\n content_types a/b;q=1\n}":                                  `content type "a/b;q=1"`,
		"osa_guard {\n max_body 2MB\n max_inflight 1MB\n content_types x\n}":      "max_inflight is 1000000 and smaller",
		"osa_guard {\n max_body 2MB\n max_inflight 1MB\n content_types a/*b/*\n}": "content type",
		"osa_error x":                                      "wrong argument count",
		"osa_error {\n service_name\n}":                    "wrong argument count",
		"osa_error {\n service_name a\n service_name b\n}": "service_name was already given",
		"osa_error {\n color red\n}":                       `unknown option "color"`,
	} {
		_, err := chaintest.Load(t, "route {\n"+config+"\n}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", config, err, want)
		}
	}
}

func TestGuardAdapts(t *testing.T) {
	got, err := chaintest.Adapt("osa_guard {\n max_body 1MiB\n max_inflight 5MB\n content_types text/* application/json\n}")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"content_types":["text/*","application/json"],"handler":"osa_guard","max_body":1048576,"max_inflight":5000000}`
	if !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
