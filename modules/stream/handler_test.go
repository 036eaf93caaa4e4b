package stream

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func TestLiveEvents(t *testing.T) {
	s := newSite(t, nil)
	s.publishN(3) // before the stream: not sent
	r := s.open("")
	h := r.resp.Header
	if h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-cache, no-transform" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("header %v", h)
	}
	s.publish(&event.Event{
		WorkflowID: "wf", AgentID: "geo_audit", Type: "agent_status_update", Status: event.StatusCompleted,
		Details: event.Details{Timestamp: "2026-11-22T00:00:00Z", PreviousStatus: "running", CurrentStatus: "completed"},
	})
	m := r.next()
	if m.id != "evt_4" || m.event != "agent_status_change" ||
		!strings.HasPrefix(m.data, `{"workflow_id":"wf","workflow_name":null,"agent_id":"geo_audit","previous_status":"running","current_status":"completed"`) {
		t.Errorf("got %+v", m)
	}
	s.publish(&event.Event{WorkflowID: "wf", Type: "custom"})
	if m := r.next(); m.id != "evt_5" || m.event != "" || !strings.Contains(m.data, `"updateType":"event"`) {
		t.Errorf("got %+v", m)
	}
}

func TestFilter(t *testing.T) {
	s := newSite(t, nil)
	r := s.open("event_types=error_notification&agent_ids=GEO_AUDIT&min_priority=high")
	s.publish(&event.Event{WorkflowID: "w", AgentID: "geo_audit", Type: "agent_status_update", Severity: "high"})
	s.publish(&event.Event{WorkflowID: "w", AgentID: "geo_audit", Type: "error_notification"})
	s.publish(&event.Event{WorkflowID: "w", AgentID: "other", Type: "error_notification", Severity: "high"})
	s.publish(&event.Event{WorkflowID: "w", AgentID: "Geo_Audit", Type: "error_notification", Severity: "urgent"})
	if m := r.next(); m.id != "evt_4" {
		t.Errorf("got %+v", m)
	}
}

func TestResumeAnywhere(t *testing.T) {
	s := newSite(t, nil)
	s.publishN(50)
	for name, r := range map[string]*reader{
		"header":          s.open("", "Last-Event-ID", "evt_10"),
		"parameter":       s.open("last_event_id=evt_10"),
		"the header wins": s.open("last_event_id=evt_3", "Last-Event-ID", "evt_10"),
		"with history":    s.open("last_event_id=evt_10&include_historical=true"),
	} {
		t.Run(name, func(t *testing.T) { wantIDs(t, r.ids(40), 11, 50) })
	}
	r := s.open("last_event_id=evt_0")
	wantIDs(t, r.ids(50), 1, 50)
	s.publishN(1)
	wantIDs(t, r.ids(1), 51, 51)
}

func TestReset(t *testing.T) {
	s := newSite(t, nil)
	s.publishN(5)
	for query, want := range map[string]message{
		"last_event_id=evt_99":             {id: "evt_5", event: "stream_reset", data: `{"reason":"beyond_head","from_id":"evt_5"}`},
		"last_event_id=17":                 {id: "evt_5", event: "stream_reset", data: `{"reason":"unknown_id","from_id":"evt_5"}`},
		"last_event_id=evt_99&reset=floor": {id: "evt_0", event: "stream_reset", data: `{"reason":"beyond_head","from_id":"evt_0"}`},
	} {
		r := s.open(query)
		if m := r.next(); m != want {
			t.Errorf("%s: got %+v", query, m)
		}
		if strings.Contains(query, "floor") {
			wantIDs(t, r.ids(5), 1, 5)
		}
	}
	if n := series(t, "osa_stream_resets_total"); n < 3 {
		t.Errorf("%v resets counted", n)
	}
}

func TestHistorical(t *testing.T) {
	s := newSite(t, nil)
	s.publishN(120)
	r := s.open("include_historical=true")
	wantIDs(t, r.ids(100), 21, 120)
	s.publishN(1)
	wantIDs(t, r.ids(1), 121, 121)
	wantIDs(t, s.open("history=2").ids(2), 120, 121)
}

func TestRefusals(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.stream["max_streams"], s.stream["max_streams_per_principal"] = 3, 2
	})
	if r := s.try("min_priority=huge"); r.resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a malformed filter: %d", r.resp.StatusCode)
	}
	for method, status := range map[string]int{http.MethodPost: http.StatusMethodNotAllowed, http.MethodHead: http.StatusOK} {
		req, _ := http.NewRequest(method, s.URL+"/stream", nil)
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
		if method == http.MethodHead && resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("HEAD: %v", resp.Header)
		}
	}
	testPrincipals.Store("one", &osa.Principal{ID: "one", Method: "api_key", WorkspaceID: "ws", Permissions: []string{osa.PermEventsRead}})
	testPrincipals.Store("two", &osa.Principal{ID: "two", Method: "api_key", WorkspaceID: "ws", Permissions: []string{osa.PermEventsRead}})
	a := s.open("", "Authorization", "one")
	s.open("", "Authorization", "one")
	if r := s.try("", "Authorization", "one"); r.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a third of one principal: %d", r.resp.StatusCode)
	}
	s.open("", "Authorization", "two")
	if r := s.try(""); r.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", r.resp.StatusCode)
	}
	a.close()
	s.eventually("a place again", func() bool {
		r := s.try("", "Authorization", "one")
		defer r.close()
		return r.resp.StatusCode == http.StatusOK
	})
}

func TestWhoMayRead(t *testing.T) {
	s := newSite(t, func(s *site) { delete(s.auth, "anonymous") })
	for token, p := range map[string]*osa.Principal{
		"a":       {ID: "a", WorkspaceID: "ws-a", Permissions: []string{osa.PermEventsRead}},
		"all":     {ID: "all", WorkspaceID: "ws-a", Permissions: []string{osa.PermEventsRead, osa.PermAllWorkspaces}},
		"nowhere": {ID: "nowhere", Permissions: []string{osa.PermEventsRead}},
		"other":   {ID: "other", WorkspaceID: "ws-a", Permissions: []string{osa.PermOPALRead}},
	} {
		testPrincipals.Store(token, p)
	}
	if r := s.try(""); r.resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody: %d", r.resp.StatusCode)
	}
	if r := s.try("", "Authorization", "nowhere"); r.resp.StatusCode != http.StatusForbidden {
		t.Errorf("of no workspace: %d", r.resp.StatusCode)
	}
	if r := s.try("", "Authorization", "other"); r.resp.StatusCode != http.StatusForbidden {
		t.Errorf("without the permission: %d", r.resp.StatusCode)
	}
	a, all := s.open("last_event_id=evt_0", "Authorization", "a"), s.open("last_event_id=evt_0", "Authorization", "all")
	for _, ws := range []string{"ws-b", "ws-a", "ws-b"} {
		s.publish(&event.Event{WorkspaceID: ws, WorkflowID: "w", Type: "custom"})
	}
	s.publish(&event.Event{WorkspaceID: "ws-a", WorkflowID: "w", Type: "custom"})
	if got := strings.Join(a.ids(2), " "); got != "evt_2 evt_4" {
		t.Errorf("ws-a got %s", got)
	}
	wantIDs(t, all.ids(4), 1, 4)
}

func TestCredentialsEnd(t *testing.T) {
	// Nobody waits for a heartbeat.
	s := newSite(t, func(s *site) {
		s.osa["auth"] = map[string]any{"test": map[string]any{"provider": "stream_test"}}
	})
	testPrincipals.Store("expires", &osa.Principal{ID: "e", WorkspaceID: "ws", ExpiresAt: time.Now().Add(300 * time.Millisecond), Permissions: []string{osa.PermEventsRead}})
	testPrincipals.Store("revoked", &osa.Principal{ID: "r", WorkspaceID: "ws", Provider: "test", Permissions: []string{osa.PermEventsRead}})
	testPrincipals.Store("stays", &osa.Principal{ID: "s", WorkspaceID: "ws", Provider: "test", Permissions: []string{osa.PermEventsRead}})
	stays := s.open("", "Authorization", "stays")
	e, r := s.open("", "Authorization", "expires"), s.open("", "Authorization", "revoked")
	wantEnd := func(r *reader, reason string) {
		t.Helper()
		rest := r.ended()
		if last := rest[len(rest)-1]; last.event != "stream_end" || last.data != `{"reason":"`+reason+`"}` {
			t.Errorf("ended with %+v", last)
		}
	}
	wantEnd(e, "credential_expired")
	testRevoked.Store("r", osa.RefusedRevoked)
	credentials.Changed()
	wantEnd(r, "credential_revoked")
	// The request was let in, and the stream opened after the change.
	wantEnd(s.open("", "Authorization", "revoked"), "credential_revoked")
	s.publish(&event.Event{WorkspaceID: "ws", WorkflowID: "w", Type: "custom"})
	if got := strings.Join(stays.ids(1), " "); got != "evt_1" {
		t.Errorf("a stream whose credential holds got %s", got)
	}
	s.eventually("it is counted", func() bool {
		return series(t, "osa_stream_closed_total", "reason", "credential_revoked") >= 1
	})
}

func TestHeartbeatAndMetrics(t *testing.T) {
	s := newSite(t, func(s *site) { s.stream["heartbeat"] = "30ms" })
	all, some, none := s.open(""), s.open("event_types=performance_metric_update"), s.open("event_types=error_notification")
	for name, r := range map[string]*reader{"all": all, "some": some} {
		if m := r.next(); m.event != "" || m.comment != "heartbeat" {
			t.Errorf("%s: %+v", name, m)
		}
		if m := r.next(); m.event != "performance_metric_update" || m.id != "" || !strings.HasPrefix(m.data, `{"metric_name":"webhooks_per_minute","current_value":`) {
			t.Errorf("%s: %+v", name, m)
		}
	}
	for range 3 {
		if m := none.next(); m.comment != "heartbeat" || m.event != "" {
			t.Errorf("none: %+v", m)
		}
	}
}

func TestClientsLeave(t *testing.T) {
	s := newSite(t, nil)
	r := s.open("")
	if n := series(t, "osa_stream_open"); n != 1 {
		t.Errorf("%v open", n)
	}
	r.close()
	s.eventually("nobody is there", func() bool { return the.count() == 0 && series(t, "osa_stream_open") == 0 })
}
