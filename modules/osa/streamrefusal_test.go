package osa

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

func TestRefuseStream(t *testing.T) {
	tooMany := &httperror.Error{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}}}
	for name, tt := range map[string]struct {
		method, accept string
		err            *httperror.Error
		reason         string
		want           string // of the event; "": not answered
	}{
		"an EventSource":     {"GET", "text/event-stream", httperror.Unavailable("x", time.Second), "", StreamUnavailable},
		"with parameters":    {"GET", "text/event-stream; charset=utf-8", httperror.Unavailable("x", time.Second), "", StreamUnavailable},
		"a rate limit":       {"GET", "text/event-stream", tooMany, "", StreamRateLimited},
		"a reason":           {"GET", "text/event-stream", tooMany, StreamTooMany, StreamTooMany},
		"accepts JSON too":   {"GET", "text/event-stream, application/json", tooMany, "", ""},
		"accepts anything":   {"GET", "*/*", tooMany, "", ""},
		"says nothing":       {"GET", "", tooMany, "", ""},
		"another method":     {"POST", "text/event-stream", tooMany, "", ""},
		"for another reason": {"GET", "text/event-stream", httperror.NotFound("x", "y"), "", ""},
		"a server's error":   {"GET", "text/event-stream", httperror.Internal(errors.New("x")), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			if tt.accept != "" {
				r.Header.Set("Accept", tt.accept)
			}
			w := httptest.NewRecorder()
			if got := RefuseStream(w, r, tt.err, tt.reason); got != (tt.want != "") {
				t.Fatalf("answered: %v", got)
			}
			body := w.Body.String()
			if tt.want == "" {
				if body != "" || len(w.Header()) > 0 {
					t.Errorf("wrote %v %q", w.Header(), body)
				}
				return
			}
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" ||
				!strings.Contains(body, "retry:") || !strings.Contains(body, "stream_end") || !strings.Contains(body, tt.want) {
				t.Errorf("%d %v %q", w.Code, w.Header(), body)
			}
		})
	}
	for range 100 {
		if wait := streamWait(tooMany); wait < 2*time.Second || wait >= 3*time.Second {
			t.Fatalf("waits %v", wait)
		}
	}
}
