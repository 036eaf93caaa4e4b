package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func now() time.Time { return time.Now() }

// TestList: filters, order and cursors of the log.
func TestList(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	type row struct{ workflow, agent, eventType, status, severity string }
	var rows []row
	for i := range 60 {
		rows = append(rows, row{
			workflow:  []string{"strategy_workflow-1", "strategy_workflow-2", "other-1"}[i%3],
			agent:     []string{"content_review", "geo_audit"}[i%2],
			eventType: []string{"agent_status_update", "workflow_progress", "completed", "error_notification", "something_new"}[i%5],
			status:    []string{"running", "completed", "failed"}[i%3],
			severity:  []string{"", "low", "high", "critical"}[i%4],
		})
	}
	start := time.Now()
	var seqs []uint64
	var middle time.Time
	for i, r := range rows {
		fields := map[string]any{"event_type": r.eventType, "status": r.status, "data": nil}
		if r.severity != "" {
			fields["severity"] = r.severity
		}
		seqs = append(seqs, seqOf(t, g.MustPost(gateway.Event(r.workflow, r.agent, stamp(), fields)).WebhookID))
		if i == len(rows)/2-1 {
			time.Sleep(20 * time.Millisecond) // so that the two halves differ in milliseconds
			middle = time.Now()
			time.Sleep(20 * time.Millisecond)
		}
	}
	progress := []string{"workflow_progress", "completed"}
	for query, match := range map[string]func(int, row) bool{
		"":                                  func(int, row) bool { return true },
		"agent_id=content_review":           func(_ int, r row) bool { return r.agent == "content_review" },
		"agent_id=Content_Review":           func(_ int, r row) bool { return r.agent == "content_review" },
		"agent_id=content_review,geo_audit": func(int, row) bool { return false }, // one id, as it is
		"agent_id=content_review&agent_id=geo_audit": func(int, row) bool { return true },
		"agent_id=nobody":                                        func(int, row) bool { return false },
		"workflow_id=other-1":                                    func(_ int, r row) bool { return r.workflow == "other-1" },
		"workflow=strategy_workflow":                             func(_ int, r row) bool { return strings.HasPrefix(r.workflow, "strategy") },
		"event_type=something_new":                               func(_ int, r row) bool { return r.eventType == "something_new" },
		"event_type=workflow_completion":                         func(_ int, r row) bool { return r.eventType == "completed" },
		"event_type=workflow_progress_update":                    func(_ int, r row) bool { return slices.Contains(progress, r.eventType) },
		"event_type=agent_status_change":                         func(_ int, r row) bool { return r.eventType == "agent_status_update" },
		"event_type=completed&event_type=failed":                 func(_ int, r row) bool { return r.eventType == "completed" },
		"status=failed":                                          func(_ int, r row) bool { return r.status == "failed" },
		"status=failed,running":                                  func(_ int, r row) bool { return r.status != "completed" },
		"status=failed&agent_id=geo_audit":                       func(_ int, r row) bool { return r.status == "failed" && r.agent == "geo_audit" },
		"source=opal":                                            func(int, row) bool { return true },
		"source=gateway":                                         func(int, row) bool { return false },
		"start_date=" + stampOf(start):                           func(int, row) bool { return true },
		"end_date=" + stampOf(start.Add(-time.Second)):           func(int, row) bool { return false },
		"start_date=" + stampOf(middle):                          func(i int, _ row) bool { return i >= len(rows)/2 },
		"end_date=" + stampOf(middle):                            func(i int, _ row) bool { return i < len(rows)/2 },
		"end_date=" + stampOf(middle) + "&status=failed&limit=3": func(i int, r row) bool { return i < len(rows)/2 && r.status == "failed" },
	} {
		t.Run(query, func(t *testing.T) {
			var want []uint64
			for i, r := range rows {
				if match(i, r) {
					want = append(want, seqs[i])
				}
			}
			for _, limit := range []string{"1000", "7", "1"} {
				for _, order := range []string{"asc", "desc", ""} {
					q, err := url.ParseQuery(query)
					if err != nil {
						t.Fatal(err)
					}
					q.Set("limit", limit)
					if order != "" {
						q.Set("order", order)
					}
					var got []uint64
					for _, r := range g.MustList(q.Encode()) {
						got = append(got, r.Seq)
					}
					if order != "asc" {
						slices.Reverse(got)
					}
					if !slices.Equal(got, want) {
						t.Fatalf("limit %s, order %q:\n got %v\nwant %v", limit, order, got, want)
					}
				}
			}
		})
	}

	// A listing goes on where it was, whatever comes meanwhile.
	t.Run("while events come", func(t *testing.T) {
		q := url.Values{"limit": {"10"}, "order": {"desc"}}
		var got []uint64
		for {
			p, err := g.ListPage(q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Events {
				got = append(got, r.Seq)
			}
			post(t, g, "wf-meanwhile", 3)
			if p.NextCursor == nil {
				break
			}
			q.Set("cursor", *p.NextCursor)
		}
		slices.Reverse(got)
		if !slices.Equal(got, seqs) {
			t.Errorf("got %v, want %v", got, seqs)
		}
	})

	for _, bad := range []string{
		"limit=0", "limit=-1", "limit=1001", "limit=x", "order=up", "cursor=!", "cursor=evt_1", "start_date=yesterday", "end_date=x", "status=nothing",
		"start_date=2026-02-01T00:00:00Z&end_date=2026-01-01T00:00:00Z",
	} {
		t.Run(bad, func(t *testing.T) {
			r := g.Get("/api/webhook-events?" + bad)
			if members := wantError(t, r, 400, "validation_failed"); fmt.Sprint(members["details"]) == "[]" {
				t.Errorf("nothing says what is wrong: %s", r.Body)
			}
		})
	}
}

func stampOf(t time.Time) string { return url.QueryEscape(t.UTC().Format(time.RFC3339Nano)) }

// TestOneEvent: what the log keeps of an event, and what it does not show.
func TestOneEvent(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	body := []byte(`{"workflow_id":"strategy_workflow-7","agent_id":"Content_Review","event_type":"agent_status_update",` +
		`"timestamp":"2026-01-01T00:00:00Z","severity":"HIGH","data":{"agent_status":{"current_status":"failed","error_details":"no quota"},` +
		`"password":"open-sesame","nested":{"api_key":"abc-def","token":"t0k3n"},"note":"a < b & c"}}`)
	a := g.MustPost(body)
	if a.Status != "processed" || a.ProcessingTimeMS == nil || *a.ProcessingTimeMS < 0 || fmt.Sprint(a.EventsTriggered) != "[agent_status_change]" {
		t.Errorf("answered with %+v", a)
	}
	answer := g.Get("/api/webhook-events/" + a.WebhookID)
	var r struct {
		gateway.Record
		ErrorMessage *string `json:"error_message"`
		ReplayOf     *string `json:"replay_of"`
	}
	answer.JSON(t, &r)
	if r.ID != a.WebhookID || r.WorkspaceID != gateway.Workspace || r.Source != "opal" || *r.EventType != "agent_status_update" ||
		r.Kind != "agent_status" || *r.WorkflowName != "strategy_workflow" || *r.AgentID != "Content_Review" || *r.Status != "failed" ||
		*r.Severity != "high" || r.ErrorMessage == nil || *r.ErrorMessage != "no quota" || r.Size != len(body) || r.ReplayOf != nil ||
		time.Since(r.ReceivedAt).Abs() > time.Minute {
		t.Errorf("record is %s", answer.Body)
	}
	for _, hidden := range []string{"open-sesame", "abc-def", "t0k3n"} {
		if strings.Contains(string(answer.Body), hidden) {
			t.Errorf("%q is not masked: %s", hidden, r.Payload)
		}
	}
	if !strings.Contains(string(r.Payload), "a < b & c") && !strings.Contains(string(r.Payload), `a \u003c b \u0026 c`) {
		t.Errorf("payload is %s", r.Payload)
	}
	for _, bad := range []string{"evt_0", "evt_01", "evt_-1", "evt_", "x", "evt_1%00", "evt_99999999999999999999", "1"} {
		if r := g.Get("/api/webhook-events/" + bad); r.Status != 404 && r.Status != 400 {
			t.Errorf("GET %s: %d", bad, r.Status)
		}
	}
	if r := g.Get("/api/webhook-events/"); r.Status != 404 {
		t.Errorf("GET an empty id: %d %.100s", r.Status, r.Body)
	}
}

// TestLastWebhook: recent events and how the receiver does.
func TestLastWebhook(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	type answer struct {
		Events       []gateway.Record `json:"events"`
		SystemHealth struct {
			WebhookStatus     string   `json:"webhook_status"`
			RecentFailureRate *float64 `json:"recent_failure_rate"`
			AvgProcessingTime *float64 `json:"avg_processing_time"`
		} `json:"system_health"`
	}
	var empty answer
	g.GetJSON("/api/diagnostics/last-webhook", &empty)
	if len(empty.Events) != 0 || empty.Events == nil || empty.SystemHealth.WebhookStatus == "" {
		t.Errorf("of an empty log: %+v", empty)
	}
	for i := range 20 {
		status := "completed"
		if i%4 == 0 {
			status = "failed"
		}
		g.MustPost(gateway.Event(fmt.Sprintf("strategy_workflow-%d", i%2), "geo_audit", stamp(), map[string]any{"event_type": "agent_completed", "status": status, "data": nil}))
	}
	for query, want := range map[string]int{
		"": 20, "?limit=5": 5, "?status=failed": 5, "?event_type=agent_completed&limit=20": 20, "?workflow=strategy_workflow&limit=10": 10,
		"?workflow_id=strategy_workflow-0": 10, "?agent_id=GEO_AUDIT&limit=3": 3, "?event_type=nothing": 0, "?status=failed&event_type=agent_completed": 5,
	} {
		var a answer
		g.GetJSON("/api/diagnostics/last-webhook"+query, &a)
		if len(a.Events) != want && (query != "" || len(a.Events) < 10) {
			t.Errorf("%q has %d events, want %d", query, len(a.Events), want)
		}
		for i := 1; i < len(a.Events); i++ {
			if a.Events[i].Seq >= a.Events[i-1].Seq {
				t.Errorf("%q is not newest first", query)
			}
		}
		if r := a.SystemHealth.RecentFailureRate; r == nil || *r < 0 || *r > 100 {
			t.Errorf("%q: recent_failure_rate is %v", query, r)
		}
	}
	wantError(t, g.Get("/api/diagnostics/last-webhook?limit=x"), 400, "validation_failed")
}
