package hub

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/event"
)

func ptr[T any](v T) *T { return &v }

func TestFrames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for name, tc := range map[string]struct {
		e    event.Event
		want string
	}{
		"agent": {
			event.Event{
				Seq: 12345, Kind: event.KindAgentStatus, WorkflowID: "wf_67890", AgentID: "personalization_generator",
				Status: event.StatusCompleted, Details: event.Details{
					PreviousStatus: "running", CurrentStatus: "completed", ExecutionTimeMS: ptr(45230.0),
					ResultsAvailable: ptr(true), ConfidenceScore: ptr(0.87), Timestamp: "2024-11-13T14:32:15Z",
				},
			},
			"id: evt_12345\nevent: agent_status_change\n" +
				`data: {"workflow_id":"wf_67890","workflow_name":null,"agent_id":"personalization_generator","previous_status":"running",` +
				`"current_status":"completed","status":"completed","execution_time_ms":45230,"results_available":true,"confidence_score":0.87,` +
				`"progress_percentage":null,"error_message":null,"timestamp":"2024-11-13T14:32:15Z","event_id":"evt_12345"}` + "\n\n",
		},
		"agent that says nothing of itself": {
			event.Event{Seq: 1, Kind: event.KindAgentStatus, WorkflowID: "w", Status: event.StatusFailed, ErrorMessage: "line\nbreak", ReceivedAt: at, ReplayOf: 7},
			"id: evt_1\nevent: agent_status_change\n" +
				`data: {"workflow_id":"w","workflow_name":null,"agent_id":null,"previous_status":null,"current_status":"failed","status":"failed",` +
				`"execution_time_ms":null,"results_available":null,"confidence_score":null,"progress_percentage":null,"error_message":"line\nbreak",` +
				`"replay_of":"evt_7","timestamp":"2026-01-02T03:04:05.678Z","event_id":"evt_1"}` + "\n\n",
		},
		"progress by counts": {
			event.Event{
				Seq: 2, Kind: event.KindWorkflowProgress, WorkflowID: "w", WorkflowName: "strategy_workflow", Status: event.StatusRunning, ReceivedAt: at,
				Details: event.Details{CompletedAgents: ptr(int64(3)), TotalAgents: ptr(int64(9)), CurrentPhase: ptr(int64(2)), EstimatedCompletion: "soon"},
			},
			"id: evt_2\nevent: workflow_progress_update\n" +
				`data: {"workflow_id":"w","workflow_name":"strategy_workflow","agent_id":null,"status":"running","completed_agents":3,"total_agents":9,` +
				`"successful_agents":null,"failed_agents":null,"current_phase":2,"progress_percentage":33.3,"estimated_completion":"soon",` +
				`"execution_time_ms":null,"results_available":null,"error_message":null,"timestamp":"2026-01-02T03:04:05.678Z","event_id":"evt_2"}` + "\n\n",
		},
		"error": {
			event.Event{
				Seq: 3, Kind: event.KindError, WorkflowID: "w", Severity: "high", ErrorMessage: `a "b"`, ReceivedAt: at,
				Details: event.Details{ErrorType: "timeout", AffectedAgents: []string{"a", "b"}, RecoveryAction: "retry"},
			},
			"id: evt_3\nevent: error_notification\n" +
				`data: {"workflow_id":"w","workflow_name":null,"agent_id":null,"error_type":"timeout","message":"a \"b\"","severity":"high",` +
				`"affected_agents":["a","b"],"recovery_action":"retry","timestamp":"2026-01-02T03:04:05.678Z","event_id":"evt_3"}` + "\n\n",
		},
		"alert": {
			event.Event{
				Seq: 4, Kind: event.KindOther, Type: event.TypeSystemHealthAlert, Source: event.SourceGateway, Severity: "critical",
				ErrorMessage: "m", ReceivedAt: at, Details: event.Details{ErrorType: "errors"},
			},
			"id: evt_4\nevent: system_health_alert\n" +
				`data: {"workflow_id":null,"agent_id":null,"alert_type":"errors","severity":"critical","message":"m","action_required":true,` +
				`"resolution_steps":[],"timestamp":"2026-01-02T03:04:05.678Z","event_id":"evt_4"}` + "\n\n",
		},
		"unnamed": {
			event.Event{
				Seq: 5, Kind: event.KindOther, Type: "custom", WorkflowID: "w", AgentID: "a", Status: event.StatusPending,
				ReceivedAt: at, ProcessingTime: 1500 * time.Microsecond,
			},
			"id: evt_5\n" +
				`data: {"type":"webhook_processed","updateType":"event","timestamp":"2026-01-02T03:04:05.678Z","data":{"event_id":"evt_5",` +
				`"event_type":"custom","workflow_id":"w","agent_id":"a","status":"pending","processing_status":"processed","processing_time_ms":1.5}}` + "\n\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(AppendEvent(nil, &tc.e)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		e    event.Event
		want *float64
	}{
		"as sent":       {event.Event{Details: event.Details{ProgressPercentage: ptr(12.5), CompletedAgents: ptr(int64(9)), TotalAgents: ptr(int64(9))}}, ptr(12.5)},
		"nothing":       {event.Event{Kind: event.KindWorkflowStarted}, nil},
		"completed":     {event.Event{Kind: event.KindWorkflowCompletion, Status: event.StatusCompleted}, ptr(100.0)},
		"failed":        {event.Event{Kind: event.KindWorkflowCompletion, Status: event.StatusFailed}, nil},
		"of none":       {event.Event{Details: event.Details{CompletedAgents: ptr(int64(1)), TotalAgents: ptr(int64(0))}}, nil},
		"more than all": {event.Event{Details: event.Details{CompletedAgents: ptr(int64(12)), TotalAgents: ptr(int64(9))}}, ptr(100.0)},
	} {
		got := progress(&tc.e)
		if (got == nil) != (tc.want == nil) || (got != nil && *got != *tc.want) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[float64]string{
		0: "0", 45230: "45230", 0.87: "0.87", -1.5: "-1.5", 1e21: "1e+21", 1e-7: "1e-07", math.Inf(1): "null", math.NaN(): "null",
	} {
		if got := string(appendFloat(nil, in)); got != want {
			t.Errorf("%v: got %s", in, got)
		}
	}
}

// FuzzString holds the one property that a stream depends on: whatever a sender
// put into a string, it is one line of UTF-8 that any JSON parser reads back.
func FuzzString(f *testing.F) {
	for _, s := range []string{
		"", "plain", "a\nb\rc\x00", "\u2028 and \u2029", "\xff\xfe", "\xe2\x80", `"\`, "\x7f", "é😀", "\xed\xa0\x80", "a\xe2\x80\xa8b", "\ufffd",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendString(nil, s))
		if strings.ContainsAny(got, "\n\r\x00\u2028\u2029") || !utf8.ValidString(got) {
			t.Fatalf("%q became %q", s, got)
		}
		var back string
		if err := json.Unmarshal([]byte(got), &back); err != nil {
			t.Fatalf("%q became %s: %v", s, got, err)
		}
		var want string
		raw, _ := json.Marshal(s)
		_ = json.Unmarshal(raw, &want)
		if back != want {
			t.Fatalf("%q came back as %q, want %q", s, back, want)
		}
	})
}
