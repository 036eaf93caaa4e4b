package command

import (
	"bytes"
	"strings"
	"testing"
)

func TestHumanLine(t *testing.T) {
	t.Setenv("TZ", "UTC")
	tests := map[string]struct {
		m    message
		want []string
	}{
		"agent": {
			message{id: "evt_7", ownID: true, event: "agent_status_change", data: `{"workflow_id":"wf_1","agent_id":"content_review","previous_status":"running","current_status":"completed","execution_time_ms":1500,"timestamp":"2026-01-01T00:00:00Z"}`},
			[]string{"agent_status_change", "content_review", "running → completed", "1.5s", "wf_1", "evt_7"},
		},
		"workflow": {
			message{event: "workflow_progress_update", data: `{"workflow_id":"wf_1","completed_agents":3,"total_agents":9,"progress_percentage":33.3,"status":"running"}`},
			[]string{"running", "3/9 agents", "33 %"},
		},
		"error":   {message{event: "error_notification", data: `{"error_type":"timeout","message":"too slow","severity":"high"}`}, []string{"high", "timeout", "too slow"}},
		"unnamed": {message{data: `{"type":"webhook_processed","updateType":"event","data":{"workflow_id":"wf_2","data":{"x":1}}}`}, []string{"event", "wf_2"}},
		"text":    {message{event: "x", data: "not JSON"}, []string{"x not JSON"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := humanLine(paint{}, tt.m)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q lacks %q", got, want)
				}
			}
		})
	}
}

// A sender must not be able to move the cursor or rename the window.
func TestHumanLineHasNoControlCharacters(t *testing.T) {
	m := message{event: "a\x1b[2J", data: `{"agent_id":"\u001b]0;x\u0007","message":"a\r\nb","current_status":"\u009b1m","workflow_id":"\u2028"}`}
	got := humanLine(paint{}, m)
	if strings.ContainsAny(got, "\x1b\x07\r\n\u009b\u2028") {
		t.Errorf("control characters came through: %q", got)
	}
}

func TestPrintJSON(t *testing.T) {
	var out bytes.Buffer
	print := printerFor(&out, true)
	for _, m := range []message{
		{id: "evt_1", ownID: true, event: "x", data: "{\n \"a\": 1\n}"},
		{id: "evt_1", data: "plain"},
	} {
		if err := print(m); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"id":"evt_1","event":"x","data":{"a":1}}` + "\n" + `{"data":"plain"}` + "\n"
	if out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
}
