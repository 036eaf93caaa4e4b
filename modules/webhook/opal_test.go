package webhook

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/event"
)

// mapOPAL maps a body that is a JSON object.
// newOPAL is a mapping as Caddy makes it.
func newOPAL(o OPAL) *OPAL {
	if err := errors.Join(o.Provision(caddy.Context{}), o.Validate()); err != nil {
		panic(err)
	}
	return &o
}

func mapOPAL(t testing.TB, o OPAL, body string) (*event.Event, []Invalid) {
	t.Helper()
	raw := []byte(body)
	if err := checkBody(raw); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	e := &event.Event{BodyDigest: sha256.Sum256(raw)}
	bad := newOPAL(o).Map(raw, e)
	// The event must not share memory with the body: spoil it.
	for i := range raw {
		raw[i] = '#'
	}
	return e, bad
}

func ptr[T any](v T) *T { return &v }

func TestDedupKeyIsJavaScripts(t *testing.T) {
	raw, err := os.ReadFile("testdata/dedup.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []struct{ Body, JSON, Key string }
	if err := json.Unmarshal(raw, &table); err != nil {
		t.Fatal(err)
	}
	if len(table) < 70 {
		t.Fatalf("only %d rows", len(table))
	}
	mapped := 0
	for _, row := range table {
		// What identifies an event too badly to be stored has a key all the same.
		var m opalFields
		m.read(row.Body)
		if m[fieldEventType] == "" {
			m[fieldEventType] = m[fieldType]
		}
		digest := event.Digest(sha256.Sum256([]byte(row.Body)))
		if got := event.OPALDedupKey(m[fieldWorkflowID], m[fieldAgentID], m[fieldTimestamp], m[fieldEventType], digest).String(); got != row.Key {
			t.Errorf("%s\nis not keyed as JavaScript's %s", row.Body, row.JSON)
		}
		if e, bad := mapOPAL(t, OPAL{}, row.Body); bad == nil {
			mapped++
			if e.DedupKey.String() != row.Key {
				t.Errorf("%s\nis not mapped to the key of %s", row.Body, row.JSON)
			}
		}
	}
	if mapped < 50 {
		t.Errorf("only %d rows could be mapped", mapped)
	}
}

func TestMap(t *testing.T) {
	tests := []struct {
		name, body string
		want       event.Event
	}{
		{
			"guide's agent status",
			`{"event_type":"agent_status_update","timestamp":"2024-11-13T14:32:15Z","workflow_id":"strategy_workflow_456","agent_id":"geo_audit",
			 "correlation_id":"c-1","data":{"agent_status":{"previous_status":"running","current_status":"failed","execution_time_ms":45230,
			 "error_details":{"code":7,"message":"no \"route\""}}}}`,
			event.Event{
				Type: "agent_status_update", Kind: event.KindAgentStatus, WorkflowID: "strategy_workflow_456", WorkflowName: "strategy_workflow",
				AgentID: "geo_audit", Status: event.StatusFailed, ErrorMessage: `no "route"`, CorrelationID: "c-1",
				Details: event.Details{
					Timestamp: "2024-11-13T14:32:15Z", PreviousStatus: "running", CurrentStatus: "failed", ExecutionTimeMS: ptr(45230.0),
				},
			},
		},
		{
			"guide's progress",
			`{"event_type":"workflow_progress","timestamp":"t","workflow_id":"wf","data":{"workflow_progress":{"completed_agents":3,"total_agents":9,
			 "current_phase":2,"estimated_completion":"2024-11-13T15:00:00Z","progress_percentage":33.3}}}`,
			event.Event{
				Type: "workflow_progress", Kind: event.KindWorkflowProgress, WorkflowID: "wf", Status: event.StatusRunning,
				Details: event.Details{
					Timestamp: "t", CompletedAgents: ptr(int64(3)), TotalAgents: ptr(int64(9)), CurrentPhase: ptr(int64(2)),
					EstimatedCompletion: "2024-11-13T15:00:00Z", ProgressPercentage: ptr(33.3),
				},
			},
		},
		{
			"guide's completion",
			`{"event_type":"workflow_completion","timestamp":"t","workflow_id":"wf","data":{"workflow_completion":{"status":"timeout",
			 "total_execution_time_ms":1000,"successful_agents":8,"failed_agents":1,"results_available":true}}}`,
			event.Event{
				Type: "workflow_completion", Kind: event.KindWorkflowCompletion, WorkflowID: "wf", Status: event.StatusTimeout,
				Details: event.Details{
					Timestamp: "t", ExecutionTimeMS: ptr(1000.0), SuccessfulAgents: ptr(int64(8)), FailedAgents: ptr(int64(1)), ResultsAvailable: ptr(true),
				},
			},
		},
		{
			"guide's error",
			`{"event_type":"error_notification","timestamp":"t","workflow_id":"wf","severity":"low","data":{"error_notification":{"error_type":"api",
			 "error_message":"down","affected_agents":["a",3,"b"],"severity":"CRITICAL","recovery_action":"wait"}}}`,
			event.Event{
				Type: "error_notification", Kind: event.KindError, WorkflowID: "wf", Severity: "critical", ErrorMessage: "down",
				Details: event.Details{Timestamp: "t", ErrorType: "api", RecoveryAction: "wait", AffectedAgents: []string{"a", "b"}},
			},
		},
		{
			"runbook's agent completion, flat",
			`{"type":"agent_completed","workflow_id":"wf","workflow_name":"other_flow","agent_id":"geo_audit","status":"success",
			 "execution_time_ms":12.5,"confidence_score":0.87,"results_available":false,"timestamp":1700000000}`,
			event.Event{
				Type: "agent_completed", Kind: event.KindAgentStatus, WorkflowID: "wf", WorkflowName: "other_flow", AgentID: "geo_audit",
				Status: event.StatusCompleted,
				Details: event.Details{
					Timestamp: "1700000000", ExecutionTimeMS: ptr(12.5), ConfidenceScore: ptr(0.87), ResultsAvailable: ptr(false),
				},
			},
		},
		{
			"runbook's failure",
			`{"event_type":"failed","workflow_id":"wf","error":{"message":"broken"},"priority":"High"}`,
			event.Event{
				Type: "failed", Kind: event.KindWorkflowCompletion, WorkflowID: "wf", Status: event.StatusFailed, Severity: "high", ErrorMessage: "broken",
			},
		},
		{
			"execution status alone",
			`{"workflow_id":"wf","agent_id":"a","execution_status":"failure","error_message":"no"}`,
			event.Event{Kind: event.KindAgentStatus, WorkflowID: "wf", AgentID: "a", Status: event.StatusFailed, ErrorMessage: "no"},
		},
		{
			"execution status beside a type",
			`{"workflow_id":"wf","event_type":"agent_completed","execution_status":"timeout"}`,
			event.Event{Type: "agent_completed", Kind: event.KindAgentStatus, WorkflowID: "wf", Status: event.StatusTimeout},
		},
		{
			"unknown type",
			`{"workflow_id":"wf","event_type":"something.else","status":"odd","data":"text"}`,
			event.Event{Type: "something.else", Kind: event.KindOther, WorkflowID: "wf"},
		},
		{
			"null is absent",
			`{"workflow_id":"wf","event_type":null,"type":"started","agent_id":null,"workflow_name":null,"timestamp":null,"correlation_id":null,
			 "execution_status":null,"severity":null,"data":null,"status":null,"execution_time_ms":null}`,
			event.Event{Type: "started", Kind: event.KindWorkflowStarted, WorkflowID: "wf", Status: event.StatusRunning},
		},
		{
			"last of equal names",
			`{"workflow_id":"first","event_type":"failed","data":{"agent_status":{"current_status":"failed"}},"workflow_id":"last","event_type":"started",
			 "agent_id":"a","agent_id":null,"data":{"agent_status":{"current_status":"failed","current_status":"running"}}}`,
			event.Event{
				Type: "started", Kind: event.KindWorkflowStarted, WorkflowID: "last", Status: event.StatusRunning,
				Details: event.Details{CurrentStatus: "running"},
			},
		},
		{
			"innermost level",
			`{"workflow_id":"wf","event_type":"agent_status_update","current_status":"idle","execution_time_ms":1,"confidence_score":0.1,
			 "agent_status":{"execution_time_ms":2},"data":{"execution_time_ms":3,"confidence_score":null,"agent_status":{"current_status":"running"}}}`,
			event.Event{
				Type: "agent_status_update", Kind: event.KindAgentStatus, WorkflowID: "wf", Status: event.StatusRunning,
				Details: event.Details{CurrentStatus: "running", ExecutionTimeMS: ptr(3.0), ConfidenceScore: ptr(0.1)},
			},
		},
		{
			"particulars that make no sense are left to the body",
			`{"workflow_id":"wf","event_type":"started","execution_time_ms":1e400,"confidence_score":7,"progress_percentage":-1,"total_agents":1.5,
			 "completed_agents":"3","current_phase":-2,"results_available":"yes","affected_agents":{"a":1},"error_type":5,"severity":[1],"error":true}`,
			event.Event{Type: "started", Kind: event.KindWorkflowStarted, WorkflowID: "wf", Status: event.StatusRunning},
		},
		{
			"escapes",
			`{"workflow_id":"\u0077f\/\ud83d\ude00","event_type":"started","error_message":"half \ud800 and \u0000"}`,
			event.Event{
				Type: "started", Kind: event.KindWorkflowStarted, WorkflowID: "wf/😀", Status: event.StatusRunning, ErrorMessage: "half \ufffd and \x00",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, bad := mapOPAL(t, OPAL{}, tt.body)
			if bad != nil {
				t.Fatalf("refused: %v", bad)
			}
			got.DedupKey, got.BodyDigest = event.Digest{}, event.Digest{}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %s\nwant %s", dump(got), dump(&tt.want))
			}
		})
	}
}

func dump(e *event.Event) string {
	d, _ := json.Marshal(e.Details)
	return fmt.Sprintf("%+v\n     %s", *e, d)
}

func TestMapBounds(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	agents := strings.Repeat(`"`+long+`",`, 200) + `"x"`
	e, bad := mapOPAL(t, OPAL{}, `{"workflow_id":"`+long[:2*256]+`","event_type":"started","error_message":"`+long+`",
		"error_type":"`+long+`","affected_agents":[`+agents+`]}`)
	if bad != nil {
		t.Fatal(bad)
	}
	if want := strings.Repeat("ä", 2048); e.ErrorMessage != want {
		t.Errorf("error message has %d bytes", len(e.ErrorMessage))
	}
	if len(e.Details.ErrorType) != maxDetail || len(e.Details.AffectedAgents) != maxAffected || len(e.Details.AffectedAgents[0]) != maxDetail {
		t.Errorf("details are not bounded: %d, %d", len(e.Details.ErrorType), len(e.Details.AffectedAgents))
	}
	if got := clip("aäb", 2); got != "a" {
		t.Errorf("clip between bytes of a character: %q", got)
	}
}

func TestMapRefusals(t *testing.T) {
	long := strings.Repeat("x", 257)
	required := Invalid{Field: "event_type", Message: "is required, unless execution_status is given"}
	tests := []struct {
		body string
		want []Invalid
	}{
		{`{}`, []Invalid{{Field: "workflow_id", Message: "is required"}, required}},
		{`{"workflow_id":null,"event_type":"started"}`, []Invalid{{Field: "workflow_id", Message: "is required"}}},
		{`{"workflow_id":"","event_type":""}`, []Invalid{{Field: "workflow_id", Message: "is required"}, required}},
		{`{"workflow_id":"wf","execution_status":null}`, []Invalid{required}},
		{`{"workflow_id":"wf","execution_status":"odd"}`, []Invalid{{Field: "execution_status", Message: "must be success, failure, pending or timeout"}}},
		{`{"workflow_id":"wf","execution_status":1}`, []Invalid{{Field: "execution_status", Message: "must be a string"}}},
		{`{"workflow_id":"` + long + `","type":"started"}`, []Invalid{{Field: "workflow_id", Message: "must not have more than 256 characters"}}},
		{`{"workflow_id":"a\u0000b","type":"started"}`, []Invalid{{Field: "workflow_id", Message: "must not contain control characters"}}},
		{`{"workflow_id":"a\u0085","type":"started"}`, []Invalid{{Field: "workflow_id", Message: "must not contain control characters"}}},
		{`{"workflow_id":"a\ud800","type":"started"}`, []Invalid{{Field: "workflow_id", Message: "must not contain half of a surrogate pair"}}},
		{`{"workflow_id":"a\uDFFF\uD800b","type":"started"}`, []Invalid{{Field: "workflow_id", Message: "must not contain half of a surrogate pair"}}},
		{`{"workflow_id":"w","type":"started","timestamp":` + strings.Repeat("1", 257) + `}`, []Invalid{{Field: "timestamp", Message: "must not have more than 256 characters"}}},
		{
			`{"workflow_id":1,"event_type":["x"],"agent_id":{},"workflow_name":true,"correlation_id":1e400,"timestamp":false,"execution_status":"success"}`,
			[]Invalid{
				{Field: "workflow_id", Message: "must be a string"},
				{Field: "event_type", Message: "must be a string"},
				{Field: "agent_id", Message: "must be a string"},
				{Field: "workflow_name", Message: "must be a string"},
				{Field: "correlation_id", Message: "must be a string"},
				{Field: "timestamp", Message: "must be a string or a number"},
			},
		},
	}
	for _, tt := range tests {
		if _, bad := mapOPAL(t, OPAL{}, tt.body); !reflect.DeepEqual(bad, tt.want) {
			t.Errorf("%.80s\n got %v\nwant %v", tt.body, bad, tt.want)
		}
	}
	_, bad := mapOPAL(t, OPAL{StrictTypes: true}, `{"workflow_id":"wf","event_type":"something.else"}`)
	if want := []Invalid{{Field: "event_type", Message: "is not a known event type"}}; !reflect.DeepEqual(bad, want) {
		t.Errorf("strict types: got %v, want %v", bad, want)
	}
	for _, body := range []string{`{"workflow_id":"wf","event_type":"completed"}`, `{"workflow_id":"wf","execution_status":"pending"}`} {
		if _, bad := mapOPAL(t, OPAL{StrictTypes: true}, body); bad != nil {
			t.Errorf("strict types refuse %s: %v", body, bad)
		}
	}
}

func TestLoneSurrogate(t *testing.T) {
	for s, want := range map[string]bool{
		`plain`: false, `\n\\`: false, `\u0041`: false, `\ud7ff\ue000`: false, `\\ud800`: false,
		`\ud83d\ude00`: false, `x\uD83D\uDE00y`: false, `\ud83d\ude00\ud83d\ude00`: false,
		`\ud800`: true, `\udc00`: true, `\ud800x`: true, `\ud800\n`: true, `\ud800\u0041`: true,
		`\ud800\ud800\udc00`: true, `\ud800\udc00\udc00`: true, `\uDBFF\\uDC00`: true, `\ud8`: true,
	} {
		if s == `\ud8` {
			continue // not JSON: never asked
		}
		if got := loneSurrogate(s); got != want {
			t.Errorf("loneSurrogate(%s) = %v", s, got)
		}
	}
}

func TestWorkflowNames(t *testing.T) {
	o := OPAL{WorkflowNames: []string{"geo", "geo_long", "strategy_workflow"}}
	for id, want := range map[string]string{"geo_1": "geo", "geo_long_1": "geo_long", "strategy_workflow": "strategy_workflow", "x_geo": ""} {
		if e, _ := mapOPAL(t, o, `{"workflow_id":"`+id+`","type":"started"}`); e.WorkflowName != want {
			t.Errorf("name of %s is %q, want %q", id, e.WorkflowName, want)
		}
	}
}

// A body that encoding/json made of random values maps to those values.
func TestMapRandom(t *testing.T) {
	text := rapid.StringMatching(`[^\x00-\x1f\x7f-\x{9f}]{1,40}`)
	maybe := func(g *rapid.Generator[string]) *rapid.Generator[*string] { return rapid.Ptr(g, true) }
	statuses := rapid.SampledFrom([]string{"idle", "starting", "pending", "running", "completed", "failed", "timeout"})
	rapid.Check(t, func(t *rapid.T) {
		id, typ := text.Draw(t, "workflow_id"), text.Draw(t, "event_type")
		agent, name := maybe(text).Draw(t, "agent_id"), maybe(text).Draw(t, "workflow_name")
		correlation, stamp := maybe(text).Draw(t, "correlation_id"), maybe(text).Draw(t, "timestamp")
		status, message := maybe(statuses).Draw(t, "status"), maybe(rapid.StringN(0, 400, -1)).Draw(t, "message")
		ms := rapid.Ptr(rapid.Float64Range(0, 1e12), true).Draw(t, "execution_time_ms")
		done := rapid.Ptr(rapid.Int64Range(0, 1e6), true).Draw(t, "completed_agents")
		body, err := json.Marshal(map[string]any{
			"workflow_id": id, "event_type": typ, "agent_id": agent, "workflow_name": name,
			"correlation_id": correlation, "timestamp": stamp, "error_message": message,
			"data": map[string]any{
				"agent_status":      map[string]any{"current_status": status, "execution_time_ms": ms},
				"workflow_progress": map[string]any{"completed_agents": done},
				"other":             []any{message, map[string]any{"workflow_id": "no"}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := checkBody(body); err != nil {
			t.Fatal(err)
		}
		e := new(event.Event)
		if bad := newOPAL(OPAL{}).Map(body, e); bad != nil {
			t.Fatal(bad)
		}
		or := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		kind, _ := event.KindOf(typ)
		for _, c := range []struct {
			what      string
			got, want any
		}{
			{"workflow_id", e.WorkflowID, id},
			{"event_type", e.Type, typ},
			{"kind", e.Kind, kind},
			{"agent_id", e.AgentID, or(agent)},
			{"workflow_name", name == nil || e.WorkflowName == *name, true},
			{"correlation_id", e.CorrelationID, or(correlation)},
			{"timestamp", e.Details.Timestamp, or(stamp)},
			{"error_message", e.ErrorMessage, or(message)},
			{"status", e.Status, cmpStatus(status, typ)},
			{"execution_time_ms", e.Details.ExecutionTimeMS, ms},
			{"completed_agents", e.Details.CompletedAgents, done},
		} {
			if !reflect.DeepEqual(c.got, c.want) {
				t.Errorf("%s is %v, want %v", c.what, c.got, c.want)
			}
		}
	})
}

func cmpStatus(status *string, eventType string) event.Status {
	if status != nil {
		return event.Status(*status)
	}
	return impliedStatus(eventType)
}
