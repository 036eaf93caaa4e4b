package stream

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// adminSite is a site with an admin endpoint.
func adminSite(t *testing.T, change func(*site)) (s *site, endpoint string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	s = newSite(t, func(s *site) {
		s.admin = map[string]any{"listen": addr, "config": map[string]any{"persist": false}}
		if change != nil {
			change(s)
		}
	})
	t.Cleanup(func() { // Caddy's endpoint outlives a stop
		s.admin = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
		s.load()
	})
	return s, "http://" + addr + "/osa/streams"
}

// listed asks the admin endpoint.
func (s *site) listed(url string) (out listing) {
	s.t.Helper()
	raw := s.adminGet(http.MethodGet, url, http.StatusOK)
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) adminGet(method, url string, status int) string {
	s.t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s: %s: %s, %v", url, resp.Status, raw, err)
	}
	return string(raw)
}

func TestAdminListsStreams(t *testing.T) {
	s, endpoint := adminSite(t, nil)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	testPrincipals.Store("credential-of-one", &osa.Principal{ID: "one", Method: "api_key", WorkspaceID: "ws", ExpiresAt: until, Permissions: []string{osa.PermEventsRead}})
	testPrincipals.Store("credential-of-all", &osa.Principal{ID: "sub", Method: "jwt", Permissions: []string{osa.PermEventsRead, osa.PermAllWorkspaces}})
	before := s.listed(endpoint).Totals
	if before.Open != 0 {
		t.Fatalf("%d open", before.Open)
	}
	s.publishN(10)
	began := time.Now()
	one := s.open("last_event_id=evt_2&agent_ids=Geo_Audit&event_types=agent_status_update&min_priority=low", "Authorization", "credential-of-one")
	all := s.open("slow=latest&history=4", "Authorization", "credential-of-all")
	nobody := s.open("workflow_id=wf-none&slow=disconnect")
	wantIDs(t, one.ids(8), 3, 10)
	wantIDs(t, all.ids(4), 7, 10)
	s.publishN(5)
	wantIDs(t, one.ids(5), 11, 15)
	wantIDs(t, all.ids(5), 11, 15)

	var got listing
	s.eventually("all are live", func() bool {
		got = s.listed(endpoint)
		return got.Totals.TakenOver == map[bool]int{true: 3}[reactor.Supported] && got.Totals.Deliveries-before.Deliveries == 22
	})
	if len(got.Streams) != 3 || got.NextCursor != nil || got.Totals.Open != 3 || got.Totals.Opened-before.Opened != 3 {
		t.Fatalf("got %+v", got)
	}
	if n := got.Totals.BytesSent - before.BytesSent; n < 22*100 {
		t.Errorf("%d bytes", n)
	}
	if l := got.Totals.LagEvents; l != (quantiles{}) || got.Totals.HubLagEvents != 0 || got.Totals.Blocked != 0 || got.Totals.Filters != 3 {
		t.Errorf("totals %+v", got.Totals)
	}
	show := func(o openStream) string {
		if o.Since.Before(began.Add(-time.Second)) || o.Since.After(time.Now()) || o.ID == 0 || o.ClientIP != "127.0.0.1" ||
			!strings.HasPrefix(o.RemoteAddress, "127.0.0.1:") || o.TakenOver != reactor.Supported || o.BytesSent == 0 {
			t.Errorf("got %+v", o)
		}
		o.ID, o.Since, o.RemoteAddress, o.RequestID, o.BytesSent = 0, time.Time{}, "", "", 0
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for i, want := range []string{
		`"principal":"api_key:one","workspace_id":"ws","expires_at":"` + until.Format(time.RFC3339) + `"|` +
			`"filter":{"workflow_ids":null,"agent_ids":["Geo_Audit"],"event_types":["agent_status_update"],"min_priority":"low"},"on_slow":"catch_up"|"position":"evt_15","lag_events":0,"catching_up":false,"events_sent":13`,
		`"principal":"jwt:sub","workspace_id":null,"expires_at":null|"protocol":"HTTP/1.1"|` +
			`"filter":{"workflow_ids":null,"agent_ids":null,"event_types":null,"min_priority":null},"on_slow":"latest"|"position":"evt_15","lag_events":0,"catching_up":false,"events_sent":9`,
		`"principal":null,"workspace_id":"ws","expires_at":null|"filter":{"workflow_ids":["wf-none"]|"on_slow":"disconnect"|` +
			`"position":"evt_10","lag_events":0,"catching_up":false,"events_sent":0`,
	} {
		line := show(got.Streams[i])
		for part := range strings.SplitSeq(want, "|") {
			if !strings.Contains(line, part) {
				t.Errorf("stream %d is %s\nwithout %s", i, line, part)
			}
		}
	}
	if raw := s.adminGet(http.MethodGet, endpoint, http.StatusOK); strings.Contains(raw, "credential-of") {
		t.Errorf("shows a credential: %s", raw)
	}

	nobody.close()
	s.eventually("one has left", func() bool {
		now := s.listed(endpoint).Totals
		return now.Open == 2 && now.Closed[endClient] == before.Closed[endClient]+1
	})
	if n := len(got.Totals.Closed); n != len(endReasons) {
		t.Errorf("%d reasons", n)
	}
	one.close()
	all.close()
}

func TestAdminPages(t *testing.T) {
	s, endpoint := adminSite(t, func(s *site) { s.stream["max_streams"] = 7 })
	testPrincipals.Store("paged", &osa.Principal{ID: "paged", Method: "api_key", WorkspaceID: "other", Permissions: []string{osa.PermEventsRead}})
	for i := range 7 {
		if i%3 == 0 {
			s.open("", "Authorization", "paged")
		} else {
			s.open("")
		}
	}
	refused := s.listed(endpoint).Totals.Refused[refusedTotal]
	if r := s.try(""); r.resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatal(r.resp.Status)
	}
	if n := s.listed(endpoint).Totals.Refused[refusedTotal]; n != refused+1 {
		t.Errorf("%d refused", n-refused)
	}
	var ids []uint64
	pages, url := 0, endpoint+"?limit=3"
	for {
		page := s.listed(url)
		pages++
		for _, o := range page.Streams {
			ids = append(ids, o.ID)
		}
		if page.Totals.Open != 7 {
			t.Errorf("%d open", page.Totals.Open)
		}
		if page.NextCursor == nil {
			break
		}
		url = endpoint + "?limit=3&cursor=" + *page.NextCursor
	}
	if pages != 3 || len(ids) != 7 || !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != 7 {
		t.Errorf("%d pages: %v", pages, ids)
	}
	for query, want := range map[string]int{
		"principal=api_key:paged": 3, "workspace_id=other": 3, "workspace_id=ws": 4, "workspace_id=ws&principal=api_key:paged": 0,
		"min_lag=1": 0, "limit=7": 7, fmt.Sprintf("cursor=%d", ids[6]): 0,
	} {
		if got := s.listed(endpoint + "?" + query); len(got.Streams) != want || got.NextCursor != nil {
			t.Errorf("%s: %d streams, next %v", query, len(got.Streams), got.NextCursor)
		}
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "cursor=-1", "min_lag=much", "colour=red"} {
		s.adminGet(http.MethodGet, endpoint+"?"+query, http.StatusBadRequest)
	}
	s.adminGet(http.MethodPost, endpoint, http.StatusMethodNotAllowed)
}

// TestLagIsMeasured: a client that takes nothing shows with what it has yet to
// get, while others have everything; what it was spared is counted.
func TestLagIsMeasured(t *testing.T) {
	s, endpoint := adminSite(t, nil)
	before := s.listed(endpoint).Totals
	conn := s.stuck(t, "slow=latest")
	r := s.open("")
	big := strings.Repeat("x", 20_000)
	const n = 1500
	// The endpoint may be asked at any time.
	var asking sync.WaitGroup
	done := make(chan struct{})
	asking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, path := range []string{"/osa/streams", "/metrics"} {
				resp, err := s.client.Get(strings.TrimSuffix(endpoint, "/osa/streams") + path)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Error(path, resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
	})
	for range n {
		s.publish(&event.Event{WorkflowID: "w", Type: "error_notification", ErrorMessage: big})
	}
	wantIDs(t, r.ids(n), 1, n)
	close(done)
	asking.Wait()
	var got listing
	s.eventually("one lags", func() bool {
		got = s.listed(endpoint)
		return got.Totals.HubLagEvents == 0 && len(got.Streams) == 2 && got.Streams[1].LagEvents == 0
	})
	slow := got.Streams[0]
	seq, err := event.ParseID(slow.Position)
	if err != nil || slow.LagEvents == 0 || slow.LagEvents != n-seq || got.Totals.LagEvents.Max != slow.LagEvents || slow.OnSlow != "latest" {
		t.Errorf("got %+v, %v", got, err)
	}
	if reactor.Supported && got.Totals.Blocked != 1 {
		t.Errorf("%d blocked", got.Totals.Blocked)
	}
	if only := s.listed(endpoint + "?min_lag=1").Streams; len(only) != 1 || only[0].ID != slow.ID {
		t.Errorf("got %+v", only)
	}
	for name, want := range map[string]float64{
		"osa_stream_open": 2, "osa_stream_lag_events": 0,
	} {
		if v := series(t, name); v != want {
			t.Errorf("%s is %v", name, v)
		}
	}
	if v := series(t, "osa_stream_client_lag_events", "quantile", "1"); v != float64(slow.LagEvents) {
		t.Errorf("the series has a lag of %v, want %d", v, slow.LagEvents)
	}
	// It reads again and is moved ahead.
	reading := conn.read(t)
	skipped := uint64(0)
	for {
		m := reading.next()
		if m.event == "gap" {
			var gap struct{ Skipped uint64 }
			if err := json.Unmarshal([]byte(m.data), &gap); err != nil {
				t.Fatal(err)
			}
			skipped += gap.Skipped
		}
		if m.id == event.FormatID(n) {
			break
		}
	}
	s.eventually("it has caught up", func() bool { return s.listed(endpoint).Totals.LagEvents.Max == 0 })
	after := s.listed(endpoint).Totals
	if after.SkippedEvents-before.SkippedEvents != skipped || after.Gaps == before.Gaps || skipped == 0 {
		t.Errorf("%d events skipped, %d counted in %d gaps", skipped, after.SkippedEvents-before.SkippedEvents, after.Gaps-before.Gaps)
	}
}
