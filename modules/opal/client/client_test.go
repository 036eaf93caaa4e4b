package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, header http.Header, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	var body []byte
	c := New(transport(func(r *http.Request) (*http.Response, error) {
		got = r
		body, _ = io.ReadAll(r.Body)
		return respond(202, nil, `{"workflow_id":"w_1","agents_scheduled":["a","b"]}`), nil
	}))
	res := c.Trigger(t.Context(), Trigger{URL: "https://opal.test/hook", AuthKey: "k", CorrelationID: "c", Body: []byte(`{"a":1}`)})
	if res.Delivery != Accepted || res.Status != 202 || res.WorkflowID != "w_1" || len(res.Agents) != 2 || res.Attempts != 1 || res.Err != nil {
		t.Errorf("%+v", res)
	}
	if got.Method != http.MethodPost || got.URL.String() != "https://opal.test/hook" || string(body) != `{"a":1}` {
		t.Errorf("%s %s %s", got.Method, got.URL, body)
	}
	for name, want := range map[string]string{"Authorization": "Bearer k", "X-Correlation-Id": "c", "Content-Type": "application/json"} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q", name, got.Header.Get(name))
		}
	}
}

// TestOutcomes is every way in which a call ends, and how often it is made.
func TestOutcomes(t *testing.T) {
	dialed := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, tt := range map[string]struct {
		status   int
		err      error
		sent     bool // before err
		delivery Delivery
		attempts int
	}{
		"accepted":             {200, nil, false, Accepted, 1},
		"a redirect":           {307, nil, false, Refused, 1},
		"refused":              {401, nil, false, Refused, 1},
		"a server's error":     {500, nil, false, Refused, 1},
		"too many requests":    {429, nil, false, Refused, maxAttempts},
		"unavailable":          {503, nil, false, Refused, maxAttempts},
		"no connection":        {0, dialed, false, Unreachable, maxAttempts},
		"no TLS":               {0, errors.New("bad certificate"), false, Unreachable, 1},
		"no response":          {0, io.ErrUnexpectedEOF, true, Unknown, 1},
		"dial after a request": {0, dialed, true, Unknown, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := New(transport(func(r *http.Request) (*http.Response, error) {
					calls++
					if tt.sent {
						httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
					}
					if tt.err != nil {
						return nil, tt.err
					}
					return respond(tt.status, nil, ""), nil
				}))
				res := c.Trigger(t.Context(), Trigger{URL: "http://opal.test/account-1", AuthKey: "secret-key"})
				if res.Delivery != tt.delivery || res.Status != tt.status || res.Attempts != tt.attempts || calls != tt.attempts {
					t.Errorf("%d calls, %+v", calls, res)
				}
				if (res.Err == nil) != (tt.delivery == Accepted) {
					t.Errorf("error %v", res.Err)
				}
				if res.Err != nil && (strings.Contains(res.Err.Error(), "secret-key") || strings.Contains(res.Err.Error(), "account-1")) {
					t.Errorf("the error shows the key or the path: %v", res.Err)
				}
			})
		})
	}
}

func TestURLThatCannotBeCalled(t *testing.T) {
	res := New(nil).Trigger(t.Context(), Trigger{URL: "http://[::1", AuthKey: "secret-key"})
	if res.Delivery != Unreachable || res.Attempts != 1 || strings.Contains(res.Err.Error(), "[::1") {
		t.Errorf("%+v", res)
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(transport(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		start := time.Now()
		res := c.Trigger(t.Context(), Trigger{URL: "http://opal.test/"})
		if res.Delivery != Unknown || res.Attempts != 1 || time.Since(start) != callTimeout {
			t.Errorf("%+v after %v", res, time.Since(start))
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "3600": maxRetryAfter, "-1": 0, "soon": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls []time.Time
			c := New(transport(func(*http.Request) (*http.Response, error) {
				calls = append(calls, time.Now())
				return respond(503, http.Header{"Retry-After": {header}}, ""), nil
			}))
			c.Trigger(t.Context(), Trigger{URL: "http://opal.test/"})
			if len(calls) != maxAttempts {
				t.Fatalf("%d calls", len(calls))
			}
			waited := calls[1].Sub(calls[0])
			if want > 0 && waited != want || want == 0 && (waited <= 0 || waited > time.Second) {
				t.Errorf("Retry-After %q: waited %v", header, waited)
			}
		})
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := New(transport(func(*http.Request) (*http.Response, error) {
			cancel()
			return respond(503, http.Header{"Retry-After": {"5"}}, ""), nil
		}))
		if res := c.Trigger(ctx, Trigger{URL: "http://opal.test/"}); res.Attempts != 1 || res.Delivery != Refused {
			t.Errorf("%+v", res)
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	if res := New(nil).Trigger(t.Context(), Trigger{URL: srv.URL}); res.Delivery != Refused || res.Status != 307 || calls != 1 {
		t.Errorf("%d calls, %+v", calls, res)
	}
}

func TestReadResponse(t *testing.T) {
	for body, want := range map[string]struct {
		id     string
		agents int
	}{
		``:                          {"", 0},
		`[]`:                        {"", 0},
		`{"workflow_id":7}`:         {"", 0},
		`{"workflow_id":"a\u0000"}`: {"", 0},
		`{"workflow_id":"w","agents_scheduled":"all"}`:                        {"w", 0},
		`{"workflow_id":null,"agents_scheduled":["a"]}`:                       {"", 1},
		`{"workflow_id":"w","x":"` + strings.Repeat("x", maxResponse) + `"}`:  {"", 0},
		`{"agents_scheduled":[` + strings.Repeat(`"a",`, maxAgents) + `"a"]}`: {"", 0},
	} {
		id, agents := readResponse(strings.NewReader(body))
		if id != want.id || len(agents) != want.agents {
			t.Errorf("%.60s: %q, %d agents", body, id, len(agents))
		}
	}
}

func TestChecks(t *testing.T) {
	const key = "k7Qw2zR9vT4nB8mX1cL6pJ3hG5fD0sAyUe" // made up
	for raw, want := range map[string]string{
		"https://opal.test/h": "", "http://localhost:1/h": "", "http://[::1]/": "", "": "is not set", "http://opal.test/": "must be https",
		"ftp://opal.test/": "must begin with", "https:///x": "names no host", "https://a:b@opal.test/": "credentials",
		"https://opal.test/#x": "fragment", "https://opal.test/<account>": "placeholder", "https://opal.test:x/": "not a URL",
	} {
		_, err := CheckURL(raw, true)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	if host, err := CheckURL("http://opal.test:8/h", false); host != "opal.test:8" || err != nil {
		t.Error(host, err)
	}
	for value, want := range map[string]string{
		key: "", "": "is not set", key + "\n": "header", "short": "shorter than 32", "your-" + key: "example",
	} {
		err := CheckKey(value)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("a key of %d characters: %v, want %q", len(value), err, want)
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Error("the error shows the key")
		}
	}
	for id, want := range map[string]bool{
		"a": true, "": false, "a\x00": false, strings.Repeat("é", MaxIDLength): true, strings.Repeat("a", MaxIDLength+1): false,
	} {
		if IsID(id) != want {
			t.Errorf("%.20q: %v", id, !want)
		}
	}
}
