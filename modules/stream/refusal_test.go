package stream

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// A client that understands nothing but a stream is told in a stream that it is
// refused for now; everyone else with a status.
func TestRefusedForNow(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.stream["max_streams"], s.stream["max_streams_per_principal"] = 2, 1
	})
	testPrincipals.Store("one", &osa.Principal{ID: "one", Method: "api_key", WorkspaceID: "ws", Permissions: []string{osa.PermEventsRead}})
	testPrincipals.Store("nowhere", &osa.Principal{ID: "nowhere", Permissions: []string{osa.PermEventsRead}})
	s.open("", "Authorization", "one")
	counted := func(limit string) float64 { return series(t, "osa_stream_refused_total", "limit", limit) }
	refused := func(name, limit, reason string, header ...string) {
		t.Helper()
		before := counted(limit)
		r := s.try("", append(header, "Accept", "text/event-stream")...)
		h := r.resp.Header
		if r.resp.StatusCode != http.StatusOK || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-cache, no-transform" {
			t.Fatalf("%s: %d %v", name, r.resp.StatusCode, h)
		}
		got := r.ended()
		if len(got) != 2 || got[0].retry == "" || got[1].event != "stream_end" || got[1].id != "" {
			t.Fatalf("%s: %+v", name, got)
		}
		var end struct {
			Reason string `json:"reason"`
			Retry  int    `json:"retry_ms"`
		}
		if err := json.Unmarshal([]byte(got[1].data), &end); err != nil || end.Reason != reason || strconv.Itoa(end.Retry) != got[0].retry || end.Retry < 1000 {
			t.Errorf("%s: %+v", name, got)
		}
		// Everyone else.
		for _, accept := range []string{"", "*/*", "text/event-stream, application/json", "text/event-stream,*/*;q=0.1", "application/json"} {
			h := append([]string{}, header...)
			if accept != "" {
				h = append(h, "Accept", accept)
			}
			r := s.try("", h...)
			if r.resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s, Accept %q: %d", name, accept, r.resp.StatusCode)
			}
			r.close()
		}
		if n := counted(limit) - before; n != 6 {
			t.Errorf("%s: counted %v times", name, n)
		}
	}
	refused("the principal's", "principal", "too_many_streams", "Authorization", "one")
	s.open("")
	refused("all", "total", "too_many_streams")

	for name, r := range map[string]*reader{
		"400": s.try("min_priority=huge", "Accept", "text/event-stream"),
		"403": s.try("", "Accept", "text/event-stream", "Authorization", "nowhere"),
	} {
		if got := strconv.Itoa(r.resp.StatusCode); got != name {
			t.Errorf("%s became %s", name, got)
		}
	}
	s.eventually("the log and the access log tell of it", func() bool {
		raw, err := os.ReadFile(s.log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(raw), `"msg":"stream refused","status":503,"limit":"principal"`) &&
			strings.Contains(string(raw), `"refused_with":503,"refused":"too_many_streams"`)
	})

	// A log that is closed under the configuration.
	log, done, err := testApp.Load().Log(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	done()
	hub, err := testApp.Load().Hub(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	hub.Close()
	s.eventually("nobody has a place", func() bool { return the.count() == 0 })
	refused("a hub that is closed", "unavailable", "unavailable")
	_ = log
}
