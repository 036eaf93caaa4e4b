package simulator

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func planOf(t rapid.TB, spec Spec) plan {
	p, err := newPlan(spec, noon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func bodies(p plan) []string {
	var all []string
	for _, d := range p.deliveries {
		all = append(all, string(d.body))
	}
	return all
}

func allAgents() []string {
	ids, _ := selectAgents(nil)
	return ids
}

// Whatever is asked for, a workflow makes sense: timestamps ascend, an agent ends
// after it began, and the completion comes last and counts right.
func TestPlanMakesSense(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{
			WorkflowID: rapid.StringMatching(`[a-z0-9_]{1,20}`).Draw(t, "id"),
			Agents:     rapid.SliceOfNDistinct(rapid.SampledFrom(allAgents()), 1, 9, rapid.ID[string]).Draw(t, "agents"),
			Duration:   time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "duration")),
			Faults: Faults{
				Fail: rapid.SliceOfDistinct(rapid.SampledFrom(allAgents()), rapid.ID[string]).Draw(t, "fail"),
				Seed: rapid.Uint64().Draw(t, "seed"),
			},
		}
		p := planOf(t, spec)
		var last string
		completed, failed := 0, 0
		began := make(map[string]bool)
		for i, body := range bodies(p) {
			var e struct {
				EventType string `json:"event_type"`
				Timestamp string `json:"timestamp"`
				AgentID   string `json:"agent_id"`
				Data      struct {
					Status     map[string]any `json:"agent_status"`
					Completion map[string]any `json:"workflow_completion"`
				} `json:"data"`
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatal(err)
			}
			if e.Timestamp <= last {
				t.Fatalf("callback %d is of %s, the one before of %s", i, e.Timestamp, last)
			}
			last = e.Timestamp
			switch e.Data.Status["current_status"] {
			case "running":
				began[e.AgentID] = true
			case "completed":
				completed++
			case "failed":
				failed++
			}
			if e.EventType == "agent_status_update" && !began[e.AgentID] {
				t.Fatalf("%s ended before it began", e.AgentID)
			}
			if isLast := i == len(p.deliveries)-1; isLast != (e.EventType == "workflow_completion") {
				t.Fatalf("callback %d of %d is %s", i, len(p.deliveries), e.EventType)
			} else if isLast && (e.Data.Completion["successful_agents"] != float64(completed) || e.Data.Completion["failed_agents"] != float64(failed)) {
				t.Fatalf("counts %v after %d and %d", e.Data.Completion, completed, failed)
			}
		}
		if completed+failed != len(spec.Agents) {
			t.Fatalf("%d of %d agents ended", completed+failed, len(spec.Agents))
		}
		if end := p.deliveries[len(p.deliveries)-1].at; end > spec.Duration+100*tick {
			t.Fatalf("takes %v instead of %v", end, spec.Duration)
		}
	})
}

// The same workflow id and seed give the same workflow, faults included.
func TestPlanIsDeterministic(t *testing.T) {
	spec := Spec{WorkflowID: "w", Agents: allAgents(), Duration: time.Second, Faults: Faults{Drop: 30, Reorder: true, Repeat: 1}}
	same := bodies(planOf(t, spec))
	if !slices.Equal(same, bodies(planOf(t, spec))) {
		t.Error("differs from itself")
	}
	seeded, renamed := spec, spec
	seeded.Faults.Seed = 1
	renamed.WorkflowID = "v"
	for name, other := range map[string]Spec{"seed": seeded, "workflow id": renamed} {
		if slices.Equal(same, bodies(planOf(t, other))) {
			t.Errorf("the %s changes nothing", name)
		}
	}
	a, _ := agentByID("geo_audit")
	one, _ := json.Marshal(a.resultsOf(0, "w"))
	two, _ := json.Marshal(a.resultsOf(0, "v"))
	if string(one) == string(two) {
		t.Error("every workflow finds the same")
	}
}
