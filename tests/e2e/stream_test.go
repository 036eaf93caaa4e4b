package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestStream: what goes out, under which names, in which form.
func TestStream(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	s := g.MustOpen("")
	h := s.Response.Header
	if ct := h.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type is %q", ct)
	}
	if cc := h.Get("Cache-Control"); !strings.Contains(cc, "no-cache") && !strings.Contains(cc, "no-store") {
		t.Errorf("Cache-Control is %q", cc)
	}
	for _, tt := range []struct {
		name   string
		fields map[string]any
		want   map[string]any
	}{
		{"agent_status_change", map[string]any{"event_type": "agent_status_update"}, map[string]any{"agent_id": "geo_audit"}},
		{"workflow_progress_update", map[string]any{"event_type": "workflow_progress", "data": map[string]any{
			"workflow_progress": map[string]any{"completed_agents": 3, "total_agents": 9}}}, map[string]any{"completed_agents": 3.0, "total_agents": 9.0}},
		{"workflow_progress_update", map[string]any{"event_type": "completed"}, map[string]any{"status": "completed"}},
		{"error_notification", map[string]any{"event_type": "error_notification", "severity": "high", "error_message": "out of quota"}, map[string]any{"severity": "high", "message": "out of quota"}},
		{"", map[string]any{"event_type": "something_new"}, map[string]any{"type": "webhook_processed", "updateType": "event"}},
		{"", map[string]any{"event_type": "line\u2028break"}, map[string]any{"type": "webhook_processed"}},
	} {
		fields := map[string]any{"data": nil}
		for k, v := range tt.fields {
			fields[k] = v
		}
		id := g.MustPost(gateway.Event("strategy_workflow-9", "geo_audit", stamp(), fields)).WebhookID
		if err := s.WaitSeq(seqOf(t, id), within); err != nil {
			t.Fatal(err)
		}
		all := s.Messages()
		m := all[len(all)-1]
		if m.ID != id || m.Event != tt.name {
			t.Errorf("%v went out as %+v, want %s %q", tt.fields, m, id, tt.name)
		}
		if strings.ContainsAny(m.Data, "\r\n") {
			t.Errorf("data has several lines: %q", m.Data)
		}
		data, err := m.JSON()
		if err != nil {
			t.Fatalf("data is no JSON: %v: %s", err, m.Data)
		}
		for k, v := range tt.want {
			if data[k] != v {
				t.Errorf("%s: %s is %v, want %v: %s", tt.name, k, data[k], v, m.Data)
			}
		}
		if tt.name != "" && (data["workflow_id"] != "strategy_workflow-9" || data["event_id"] != id || data["timestamp"] == nil) {
			t.Errorf("data is %s", m.Data)
		}
	}
	if s.Retry() != 3000 {
		t.Errorf("retry is %d, want 3000", s.Retry())
	}
}

// TestResume: a client that says what it saw last gets all that came after it,
// once, however far back that is.
func TestResume(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	seqs := post(t, g, "wf-resume", 300)
	live := func(s *gateway.Stream) {
		t.Helper()
		more := post(t, g, "wf-resume", 1)
		seqs = append(seqs, more...)
		if err := s.WaitSeq(more[0], within); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int{0, 1, 150, 298, 299} {
		for _, how := range []string{"header", "query"} {
			id := fmt.Sprintf("evt_%d", seqs[at])
			var s *gateway.Stream
			if how == "header" {
				s = g.MustOpen("last_event_id=evt_3", "Last-Event-ID", id) // the header wins
			} else {
				s = g.MustOpen("last_event_id=" + id)
			}
			live(s)
			if got := s.Seqs(); !slices.Equal(got, seqs[at+1:]) {
				t.Errorf("after %s by %s: got %d events, want %d", id, how, len(got), len(seqs)-at-1)
			}
			s.Close()
		}
	}
	// While events come in, and streams break and come back again and again.
	f := g.Follow(fmt.Sprintf("evt_%d", seqs[len(seqs)-1]), "")
	defer f.Close()
	var want []uint64
	for range 10 {
		want = append(want, post(t, g, "wf-resume", 20)...)
		f.Break()
	}
	if err := f.WaitSeq(want[len(want)-1], within); err != nil {
		t.Fatal(err)
	}
	if got := f.Seqs(); !slices.Equal(got, want) {
		t.Errorf("a stream that broke ten times has\n%v, want\n%v", got, want)
	}
	seqs = append(seqs, want...)

	// Without a cursor: only what comes.
	s := g.MustOpen("")
	live(s)
	if got := s.Seqs(); !slices.Equal(got, seqs[len(seqs)-1:]) {
		t.Errorf("without a cursor: %v", got)
	}
	// After a restart.
	g.Restart()
	s = g.MustOpen(fmt.Sprintf("last_event_id=evt_%d", seqs[10]))
	live(s)
	if got := s.Seqs(); !slices.Equal(got, seqs[11:]) {
		t.Errorf("after a restart: got %d events, want %d", len(got), len(seqs)-11)
	}
}

// TestStreamReset: an id outside the log is answered with a reset, and the
// stream goes on from the head, or the floor if that is asked for.
func TestStreamReset(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	seqs := post(t, g, "wf-reset", 5)
	for _, id := range []string{"evt_99999999", "evt_x", "nonsense", "evt_18446744073709551615", "evt_18446744073709551616"} {
		for _, floor := range []bool{false, true} {
			query, want := "", []uint64(nil)
			if floor {
				query, want = "reset=floor", slices.Clone(seqs)
			}
			s := g.MustOpen(query, "Last-Event-ID", id)
			if err := s.Wait(within, func(ms []gateway.Message) bool { return len(ms) > 0 }); err != nil {
				t.Fatal(err)
			}
			first := s.Messages()[0]
			data, err := first.JSON()
			if first.Event != "stream_reset" || err != nil || data["reason"] == nil || data["from_id"] == nil {
				t.Fatalf("after %s the stream begins with %+v", id, first)
			}
			more := post(t, g, "wf-reset", 1)
			seqs = append(seqs, more...)
			if err := s.WaitSeq(more[0], within); err != nil {
				t.Fatal(err)
			}
			var got []uint64
			for _, m := range s.Messages()[1:] {
				got = append(got, m.Seq())
			}
			if want = append(want, more...); !slices.Equal(got, want) {
				t.Errorf("after %s, floor %v: %v, want %v", id, floor, got, want)
			}
			s.Close()
		}
	}
}

// TestStreamFilters: a filter selects, wherever the events come from.
func TestStreamFilters(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	type row struct{ workflow, agent, eventType, severity string }
	var rows []row
	var seqs []uint64
	send := func() {
		for i := range 24 {
			r := row{
				[]string{"wf-1", "wf-2"}[i%2], []string{"content_review", "geo_audit", "cmp_organizer"}[i%3],
				[]string{"agent_status_update", "workflow_progress", "something_new"}[(i/2)%3], []string{"", "low", "high", "urgent"}[i%4],
			}
			fields := map[string]any{"event_type": r.eventType, "data": nil}
			if r.severity != "" {
				fields["severity"] = r.severity
			}
			rows = append(rows, r)
			seqs = append(seqs, seqOf(t, g.MustPost(gateway.Event(r.workflow, r.agent, stamp(), fields)).WebhookID))
		}
	}
	send() // comes from the log
	tests := map[string]func(row) bool{
		`{"workflow_id":"wf-1"}`:                                func(r row) bool { return r.workflow == "wf-1" },
		`{"agent_ids":["GEO_AUDIT","cmp_organizer"]}`:           func(r row) bool { return r.agent != "content_review" },
		`{"event_types":["agent_status_change"]}`:               func(r row) bool { return r.eventType == "agent_status_update" },
		`{"event_types":["something_new","workflow_progress"]}`: func(r row) bool { return r.eventType != "agent_status_update" },
		`{"min_priority":"high"}`:                               func(r row) bool { return r.severity == "high" || r.severity == "urgent" },
		`{"min_priority":"medium"}`:                             func(r row) bool { return r.severity != "low" },
		`{"min_priority":"critical","workflow_id":"wf-2"}`:      func(r row) bool { return r.severity == "urgent" && r.workflow == "wf-2" },
		`{"agent_ids":["nobody"]}`:                              func(row) bool { return false },
		`{}`:                                                    func(row) bool { return true },
	}
	streams := make(map[string]*gateway.Stream)
	for filter := range tests {
		streams[filter] = g.MustOpen("last_event_id=evt_0&filter=" + url.QueryEscape(filter))
	}
	send() // comes live
	for filter, match := range tests {
		var want []uint64
		for i, r := range rows {
			if match(r) {
				want = append(want, seqs[i])
			}
		}
		s := streams[filter]
		if len(want) > 0 {
			if err := s.WaitSeq(want[len(want)-1], within); err != nil {
				t.Fatalf("%s: %v", filter, err)
			}
		}
		if got := s.Seqs(); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", filter, got, want)
		}
	}
	plain := g.MustOpen("last_event_id=evt_0&workflow_id=wf-1&agent_id=geo_audit&event_type=something_new")
	if err := plain.Wait(within, func(ms []gateway.Message) bool { return len(ms) > 1 }); err != nil {
		t.Error(err)
	}

	for _, bad := range []string{"{", "[]", "null", "1", `{"min_priority":"loud"}`, `{"agent_ids":"x"}`, `{"unknown":1}`, `{"workflow_id":7}`, "\xff"} {
		r := g.Get(gateway.StreamPath + "?filter=" + url.QueryEscape(bad))
		wantError(t, r, http.StatusBadRequest, "validation_failed")
	}
}

// TestHistory: include_historical sends recent events first, then goes on.
func TestHistory(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	seqs := post(t, g, "wf-history", 150)
	for query, n := range map[string]int{"include_historical=true": 100, "history=7": 7, "history=1000": 150, `filter={"include_historical":true}`: 100} {
		s := g.MustOpen(strings.ReplaceAll(query, `"`, "%22"))
		// One that comes at once must not fall between history and stream.
		more := post(t, g, "wf-history", 1)
		if err := s.WaitSeq(more[0], within); err != nil {
			t.Fatal(err)
		}
		got := s.Seqs()
		if min(n, len(seqs)) == 150 {
			n = len(seqs)
		}
		want := append(slices.Clone(seqs[len(seqs)-n:]), more...)
		if !slices.Equal(got, want) && !slices.Equal(got, want[1:]) { // the one may be history already
			t.Errorf("%s: got %d events, want %d", query, len(got), len(want))
		}
		seqs = append(seqs, more...)
		s.Close()
	}
}

// TestHeartbeat: a silent stream is kept alive.
func TestHeartbeat(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: func(text string) string {
		return gateway.Replace(t, text, "\t\tosa_stream\n", "\t\tosa_stream {\n\t\t\theartbeat 200ms\n\t\t}\n")
	}})
	s := g.MustOpen("")
	gateway.Eventually(t, within, "comments come", func() bool { return s.Comments() >= 3 })
	// A token's end is the stream's, with the reason first. 30 s leeway.
	claims := gateway.Claims("events:read")
	claims["exp"] = time.Now().Unix() - 28
	ending := g.MustOpen("", "Authorization", "Bearer "+g.Token(claims))
	if err := ending.WaitEnd(within); err != nil {
		t.Fatal(err)
	}
	ms := ending.Messages()
	if len(ms) == 0 || ms[len(ms)-1].Event != "stream_end" {
		t.Errorf("the end of a token ends the stream with %v", ms)
	}
}

// TestOtherClient: somebody else's client understands the stream.
func TestOtherClient(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	first := post(t, g, "wf-client", 10)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+gateway.StreamPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.Key)
	req.Header.Set("Last-Event-ID", fmt.Sprintf("evt_%d", first[4]))
	conn := (&sse.Client{HTTPClient: http.DefaultClient}).NewConnection(req)
	var got []string
	more := make(chan []uint64, 1)
	conn.SubscribeToAll(func(e sse.Event) {
		if e.Data == "" {
			return // it takes the reconnection time alone for an event
		}
		got = append(got, e.LastEventID+" "+e.Type)
		if len(got) == 5 {
			go func() { more <- post(t, g, "wf-client", 5) }()
		}
		if len(got) == 10 {
			cancel()
		}
	})
	_ = conn.Connect() // ends with cancel
	var want []string
	for _, seq := range append(first[5:], <-more...) {
		want = append(want, fmt.Sprintf("evt_%d agent_status_change", seq))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
