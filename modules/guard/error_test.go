package guard_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/internal/httperror"
)

const failing = `
	route /static/* {
		error /static/* "secret detail of the operator" {http.request.uri.path.1}
	}
	route {
		osa_guard
		probe fail
	}
	handle_errors {
		osa_error {
			support_contact help@example.com
		}
	}`

// members are what G's section on status codes demands of each.
var members = []struct {
	status  int
	code    string
	members []string
	headers []string
}{
	{400, "validation_failed", []string{"details"}, nil},
	{401, "authentication_failed", []string{"auth_methods"}, []string{"WWW-Authenticate"}},
	{402, "payment_required", nil, nil},
	{403, "access_denied", []string{"required_permissions", "current_permissions"}, nil},
	{404, "resource_not_found", []string{"resource_type", "resource_id"}, nil},
	{405, "method_not_allowed", nil, nil},
	{408, "request_timeout", nil, nil},
	{409, "conflict", nil, nil},
	{410, "gone", nil, nil},
	{412, "precondition_failed", nil, nil},
	{413, "payload_too_large", nil, nil},
	{415, "unsupported_media_type", nil, nil},
	{429, "rate_limit_exceeded", nil, []string{"Retry-After"}},
	{499, "client_closed_request", nil, nil},
	{500, "internal_server_error", []string{"error_id", "support_contact"}, nil},
	{501, "not_implemented", nil, nil},
	{502, "upstream_service_error", []string{"service_name", "retry_suggestions"}, nil},
	{503, "service_unavailable", []string{"maintenance"}, []string{"Retry-After"}},
	{504, "operation_timeout", []string{"timeout_details"}, nil},
	{599, "error", nil, nil},
}

func TestEveryStatus(t *testing.T) {
	s := chaintest.Start(t, failing)
	chaintest.Handle("fail", func(_ http.ResponseWriter, r *http.Request) error {
		status, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		return caddyhttp.Error(status, errors.New("secret detail of a handler"))
	})
	for _, tt := range members {
		for _, prefix := range []string{"/", "/static/"} {
			path := prefix + strconv.Itoa(tt.status)
			t.Run(path, func(t *testing.T) {
				r := s.Send("GET", path, nil, nil)
				check(t, r, tt.status, tt.code)
				if got := r.Header.Get("Content-Type"); got != "application/json" {
					t.Errorf("Content-Type %q", got)
				}
				if strings.Contains(r.Body, "secret detail") {
					t.Errorf("tells the client the reason: %s", r.Body)
				}
				body := decode(t, r.Body)
				for _, m := range tt.members {
					if _, ok := body[m]; !ok {
						t.Errorf("lacks %s: %s", m, r.Body)
					}
				}
				if want := 4 + len(tt.members); len(body) != want {
					t.Errorf("has %d members, want %d: %s", len(body), want, r.Body)
				}
				for _, h := range tt.headers {
					if r.Header.Get(h) == "" {
						t.Errorf("lacks the header %s", h)
					}
				}
				if r.Header.Get("Cache-Control") != "no-store" {
					t.Error("may be cached")
				}
				head := s.Send("HEAD", path, nil, nil)
				if head.StatusCode != tt.status || head.Body != "" || head.Header.Get("Content-Type") != "application/json" {
					t.Errorf("HEAD: %d, %d bytes", head.StatusCode, len(head.Body))
				}
			})
		}
	}
	if strings.Contains(s.Log(), "error handling handler error") {
		t.Error("osa_error returned an error itself")
	}
	for _, tt := range []struct {
		path, code string
		status     int
	}{{"/0", "internal_server_error", 500}, {"/200", "internal_server_error", 500}} {
		check(t, s.Send("GET", tt.path, nil, nil), tt.status, tt.code)
	}
}

func decode(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatalf("%v: %q", err, s)
	}
	return m
}

// serve runs one handler before osa_error.
func serve(t *testing.T, err error) (*chaintest.Server, func(path string, h http.Header) chaintest.Response) {
	t.Helper()
	s := chaintest.Start(t, failing)
	chaintest.Handle("fail", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "3")
		w.Header().Set("ETag", `"x"`)
		return err
	})
	return s, func(path string, h http.Header) chaintest.Response { return s.Send("GET", path, h, nil) }
}

func TestProblemsAreShownAsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status int
		code   string
		want   map[string]any
		header string
	}{
		{
			"validation", httperror.ValidationFailed(httperror.Invalid{Field: "a<b>&c", Message: "no"}).HandlerError(), 400, "validation_failed",
			map[string]any{"details": []any{map[string]any{"field": "a<b>&c", "message": "no"}}}, "",
		},
		{
			"unauthenticated", httperror.Unauthenticated(`Bearer realm="osa", error="invalid_token"`, "jwt").HandlerError(), 401, "authentication_failed",
			map[string]any{"auth_methods": []any{"jwt"}}, `Bearer realm="osa", error="invalid_token"`,
		},
		{
			"denied", httperror.AccessDenied([]string{"admin"}, []string{"events:read"}).HandlerError(), 403, "access_denied",
			map[string]any{"required_permissions": []any{"admin"}, "current_permissions": []any{"events:read"}}, "",
		},
		{
			"not found", httperror.NotFound("event", "evt_1").HandlerError(), 404, "resource_not_found",
			map[string]any{"resource_type": "event", "resource_id": "evt_1"}, "",
		},
		{
			"unavailable", httperror.Unavailable("Later", 1500*time.Millisecond).HandlerError(), 503, "service_unavailable",
			map[string]any{"message": "Later", "maintenance": nil}, "2",
		},
		{
			"a code of its own", (&httperror.Error{Status: 500, Code: "Configuration Error", Message: "m", Members: map[string]any{"details": "x", "error": "y"}}).HandlerError(),
			500, "Configuration Error", map[string]any{"details": "x"}, "",
		},
		{
			"wrapped once more", fmt.Errorf("outer: %w", caddyhttp.Error(400, httperror.NotFound("event", "e"))), 404, "resource_not_found", nil, "",
		},
		{"too large for Caddy", caddyhttp.Error(500, &http.MaxBytesError{Limit: 7}), 413, "payload_too_large", map[string]any{"max_bytes": 7.0}, ""},
		{"no handler error", errors.New("bare"), 500, "internal_server_error", map[string]any{"support_contact": "help@example.com"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, get := serve(t, tt.err)
			r := get("/", nil)
			check(t, r, tt.status, tt.code)
			body := decode(t, r.Body)
			for name, want := range tt.want {
				if got, ok := body[name]; !ok || !reflect.DeepEqual(got, want) {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
			if tt.header != "" && r.Header.Get("WWW-Authenticate") != tt.header && r.Header.Get("Retry-After") != tt.header {
				t.Errorf("headers %v lack %q", r.Header, tt.header)
			}
			if r.Header.Get("ETag") != "" || r.ContentLength != int64(len(r.Body)) {
				t.Errorf("headers of the response that failed are left: %v", r.Header)
			}
			if strings.Contains(r.Body, `\u003c`) {
				t.Errorf("escapes HTML: %s", r.Body)
			}
			if !strings.HasPrefix(r.Body, `{"error":`) {
				t.Errorf("the code does not come first: %s", r.Body)
			}
		})
	}
}

func TestInternalErrorsAreLogged(t *testing.T) {
	s, get := serve(t, httperror.Internal(errors.New("what went wrong")).HandlerError())
	r := get("/some/path?token=hidden", nil)
	id, _ := decode(t, r.Body)["error_id"].(string)
	var found map[string]any
	for line := range strings.Lines(s.Log()) {
		if m := decode(t, line); m["error_id"] == id {
			found = m
		}
	}
	if id == "" || found == nil {
		t.Fatalf("error_id %q is not in the log", id)
	}
	if found["level"] != "error" || found["request_id"] != r.Header.Get("X-Request-ID") || found["path"] != "/some/path" ||
		!strings.Contains(fmt.Sprint(found["error"]), "what went wrong") {
		t.Errorf("logged %v", found)
	}
}

// A flood of refusals must not become a flood of lines.
func TestRefusalsAreLoggedInPart(t *testing.T) {
	s, get := serve(t, httperror.Unavailable("no room", time.Second).HandlerError())
	const refusals = 200
	for range refusals {
		if r := get("/", nil); r.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("status %d", r.StatusCode)
		}
	}
	// Ten a second; the test may take more than one.
	if n := strings.Count(s.Log(), "request failed"); n < 10 || n > refusals/2 {
		t.Errorf("%d of %d refusals are in the log", n, refusals)
	}
}

func TestProblemJSON(t *testing.T) {
	_, get := serve(t, httperror.NotFound("event", "evt_1").HandlerError())
	for accept, want := range map[string]bool{
		"":         false,
		"*/*":      false,
		"text/css": false,
		"application/json, application/problem+json;q=0.9":                        false,
		"application/problem+json;q=0":                                            false,
		"application/problem+json;q=x":                                            false,
		"application/problem+json;q=NaN":                                          false,
		"application/problem+json":                                                true,
		"Application/Problem+JSON; q=0.5":                                         true,
		"application/json, application/problem+json":                              true,
		"application/json;q=0.5, application/problem+json; charset=utf-8 ; Q=0.8": true,
		"text/html, application/problem+json, */*;q=0.1":                          true,
	} {
		r := get("/a%20b", http.Header{"Accept": {accept}})
		check(t, r, 404, "resource_not_found")
		body := decode(t, r.Body)
		got := r.Header.Get("Content-Type") == "application/problem+json"
		if got != want || (body["type"] != nil) != want {
			t.Errorf("%q: %s %s", accept, r.Header.Get("Content-Type"), r.Body)
			continue
		}
		if want && (body["type"] != "about:blank" || body["title"] != "Not Found" || body["status"] != 404.0 ||
			body["detail"] != body["message"] || body["instance"] != "/a%20b") {
			t.Errorf("%q: %s", accept, r.Body)
		}
		if !slices.Contains(r.Header.Values("Vary"), "Accept") {
			t.Errorf("Vary is %q", r.Header.Values("Vary"))
		}
	}
}

// TestCaddysOwnErrors: what other handlers return has the shape too.
func TestCaddysOwnErrors(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength >= 0 && r.ContentLength != int64(len(b)) {
			w.WriteHeader(http.StatusTeapot)
		}
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		_, _ = w.Write(b)
	}))
	defer upstream.Close()
	s := chaintest.Start(t, `
		route {
			request_body {
				max_size 100B
			}
			osa_guard
			reverse_proxy /refused unix//nowhere/at/all
			reverse_proxy `+upstream.Listener.Addr().String()+` {
				transport http {
					response_header_timeout 50ms
				}
			}
		}
		handle_errors {
			osa_error {
				service_name "OPAL Platform"
			}
		}`)
	json := http.Header{"Content-Type": {"application/json"}}
	if r := s.Send("POST", "/", json, struct{ io.Reader }{strings.NewReader("{}")}); r.StatusCode != 200 || r.Body != "{}" {
		t.Errorf("the body did not reach the upstream: %d %q", r.StatusCode, r.Body)
	}
	r := s.Send("POST", "/refused", json, strings.NewReader("{}"))
	check(t, r, 502, "upstream_service_error")
	if body := decode(t, r.Body); body["service_name"] != "OPAL Platform" || strings.Contains(r.Body, "nowhere") {
		t.Error(r.Body)
	}
	r = s.Send("GET", "/slow", nil, nil)
	check(t, r, 504, "operation_timeout")
	if d, _ := decode(t, r.Body)["timeout_details"].(map[string]any); d["timeout_duration_ms"].(float64) < 50 {
		t.Error(r.Body)
	}
	for _, body := range []io.Reader{strings.NewReader(strings.Repeat("x", 101)), struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 101))}} {
		check(t, s.Send("POST", "/", json, body), 413, "payload_too_large")
	}
}

func TestErrorOutsideOfHandleErrors(t *testing.T) {
	s := chaintest.Start(t, "route {\n osa_error\n}")
	if r := s.Send("GET", "/", nil, nil); r.StatusCode != 500 {
		t.Errorf("status %d", r.StatusCode)
	}
}
