package event

import (
	"encoding/json"
	"testing"
	"time"
)

func TestKinds(t *testing.T) {
	for eventType, want := range map[string]Kind{
		"agent_status_update": KindAgentStatus, "agent_completed": KindAgentStatus,
		"started": KindWorkflowStarted, "workflow_started": KindWorkflowStarted,
		"workflow_progress":   KindWorkflowProgress,
		"workflow_completion": KindWorkflowCompletion, "completed": KindWorkflowCompletion, "failed": KindWorkflowCompletion,
		"error_notification": KindError,
	} {
		if kind, known := KindOf(eventType); kind != want || !known {
			t.Errorf("%s: %s, %v", eventType, kind, known)
		}
	}
	for _, eventType := range []string{"", "Started", "purchase", "other", "agent_status"} {
		if kind, known := KindOf(eventType); kind != KindOther || known {
			t.Errorf("%q: %s, %v", eventType, kind, known)
		}
	}
}

// A filter's stream names select exactly the events that go out under them.
func TestStreamNames(t *testing.T) {
	for _, kind := range Kinds {
		e := Event{Kind: kind, Source: "opal", Type: "x"}
		name := e.StreamName()
		if (name == "") != (kind == KindOther) {
			t.Errorf("%s goes out as %q", kind, name)
		}
		for _, other := range []string{StreamAgentStatusChange, StreamWorkflowProgressUpdate, StreamErrorNotification} {
			f := Filter{Types: []string{other}}
			if f.Matches(&e) != (name == other) {
				t.Errorf("%s goes out as %q and is selected by %q: %v", kind, name, other, f.Matches(&e))
			}
		}
	}
	alert := Event{Kind: KindOther, Type: TypeSystemHealthAlert, Source: SourceGateway}
	if alert.StreamName() != StreamSystemHealthAlert {
		t.Errorf("an alert goes out as %q", alert.StreamName())
	}
	alert.Source = "opal" // what a sender calls so is no alert of ours
	if alert.StreamName() != "" {
		t.Errorf("a sender's alert goes out as %q", alert.StreamName())
	}
}

func TestNormalizeStatus(t *testing.T) {
	for in, want := range map[string]Status{
		"success": StatusCompleted, "SUCCESS": StatusCompleted, "completed": StatusCompleted, "failure": StatusFailed, "error": StatusFailed,
		"in_progress": StatusRunning, "running": StatusRunning, "queued": StatusPending, "timed_out": StatusTimeout, "timeout": StatusTimeout,
		"Idle": StatusIdle, "starting": StatusStarting, "": "", "purple": "", " running": "",
	} {
		if got := NormalizeStatus(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, s := range []Status{StatusCompleted, StatusFailed, StatusTimeout} {
		if !s.Terminal() {
			t.Errorf("%s ends an execution", s)
		}
	}
	for _, s := range []Status{StatusIdle, StatusStarting, StatusPending, StatusRunning, ""} {
		if s.Terminal() {
			t.Errorf("%q ends nothing", s)
		}
	}
}

func TestPriorities(t *testing.T) {
	for in, want := range map[string]Priority{
		"low": PriorityLow, "medium": PriorityMedium, "HIGH": PriorityHigh, "critical": PriorityCritical, "urgent": PriorityCritical,
		"": PriorityMedium, "odd": PriorityMedium,
	} {
		got, known := LookupPriority(in)
		if got != want || ParsePriority(in) != want || known != (in != "" && in != "odd") {
			t.Errorf("%q: %v, %v", in, got, known)
		}
	}
	for p := PriorityLow; p <= PriorityCritical; p++ {
		if ParsePriority(p.String()) != p {
			t.Errorf("%v does not read back", p)
		}
	}
}

func TestRecord(t *testing.T) {
	e := &Event{
		Seq: 42, ReceivedAt: time.Date(2026, 3, 1, 13, 0, 0, 123456789, time.FixedZone("", 3600)), WorkspaceID: "ws", Source: "opal",
		Kind: KindOther, WorkflowID: "<wf>", ReplayOf: 7, Size: 3, ProcessingTime: 1234567 * time.Nanosecond, Body: []byte("not in here"),
	}
	raw, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"evt_42","seq":42,"received_at":"2026-03-01T12:00:00.123456Z","workspace_id":"ws","source":"opal",` +
		`"event_type":null,"kind":"other","workflow_id":"<wf>","workflow_name":null,"agent_id":null,"status":null,"severity":null,` +
		`"error_message":null,"correlation_id":null,"dedup_hash":"0000000000000000000000000000000000000000000000000000000000000000",` +
		`"payload_mismatch":false,"replay_of":"evt_7","size":3,"processing_time_ms":1.234}`
	if string(raw) != want {
		t.Fatalf("got  %s\nwant %s", raw, want)
	}
	if _, err := json.Marshal(map[string]any{"e": e}); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutBody(t *testing.T) {
	e := &Event{Seq: 1, Body: []byte("x")}
	if c := e.WithoutBody(); c.Body != nil || c.Seq != 1 || e.Body == nil {
		t.Fatalf("%+v of %+v", c, e)
	}
}
