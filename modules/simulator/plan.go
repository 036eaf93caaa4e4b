package simulator

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// tick is the least difference between the timestamps of two webhooks. Receivers
// deduplicate by timestamp.
const tick = time.Millisecond

// reorderWindow is how many webhooks in a row change their order.
const reorderWindow = 5

// Spec is a workflow to run.
type Spec struct {
	WorkflowID    string
	CorrelationID string
	CallbackURL   string
	// Agents are the agents that run, in any order.
	Agents   []string
	Duration time.Duration
	Faults   Faults
	// SyncScope and ClientContext are sent back with the first webhook.
	SyncScope     json.RawMessage
	ClientContext json.RawMessage
}

// delivery is a webhook and when it is sent, from the start of the workflow.
type delivery struct {
	at   time.Duration
	body []byte
}

// plan is all webhooks of a workflow, in the order in which they are sent.
type plan struct {
	deliveries []delivery
	dropped    int
}

// callback is a webhook: the API guide's OPALWebhookEvent.
type callback struct {
	EventType     string         `json:"event_type"`
	Timestamp     string         `json:"timestamp"`
	WorkflowID    string         `json:"workflow_id"`
	WorkflowName  string         `json:"workflow_name"`
	AgentID       string         `json:"agent_id,omitempty"`
	CorrelationID string         `json:"correlation_id,omitempty"`
	Data          map[string]any `json:"data"`
}

// moment is when an agent begins or ends.
type moment struct {
	at    time.Duration
	agent agent
	ends  bool
	took  time.Duration
}

// newPlan makes the plan of a workflow. It fails only if ClientContext is not JSON.
func newPlan(spec Spec, start time.Time) (plan, error) {
	w := writer{spec: spec, start: start, next: tick}
	w.write(0, "started", "", map[string]any{
		"agents_scheduled": spec.Agents, "sync_scope": spec.SyncScope, "client_context": spec.ClientContext,
		"estimated_completion": w.time(spec.Duration),
	})
	var completed, failed int
	for _, m := range moments(spec) {
		switch {
		case !m.ends:
			w.write(m.at, "agent_status_update", m.agent.id, map[string]any{
				"agent_status": map[string]any{"previous_status": "idle", "current_status": "running"},
			})
			continue
		case containsFold(spec.Faults.Fail, m.agent.id):
			failed++
			w.failure(m)
		default:
			completed++
			w.success(m)
		}
		w.write(m.at, "workflow_progress", "", map[string]any{"workflow_progress": map[string]any{
			"completed_agents": completed, "failed_agents": failed, "total_agents": len(spec.Agents),
			"current_phase": m.agent.phase, "estimated_completion": w.time(spec.Duration),
			"progress_percentage": float64(100 * (completed + failed) / len(spec.Agents)),
		}})
	}
	w.completion(completed, failed)
	if w.err != nil {
		return plan{}, w.err
	}
	return applyFaults(spec, w.out), nil
}

// moments returns the starts and ends of the agents in order. The phases share the duration
// and follow one another. The agents of a phase overlap.
func moments(spec Spec) []moment {
	byPhase := make(map[int][]agent)
	var phases []int
	for _, a := range agents {
		if containsFold(spec.Agents, a.id) {
			if byPhase[a.phase] == nil {
				phases = append(phases, a.phase)
			}
			byPhase[a.phase] = append(byPhase[a.phase], a)
		}
	}
	var all []moment
	length := float64(spec.Duration) / float64(len(phases))
	for i, phase := range phases {
		begin := float64(i) * length
		for j, a := range byPhase[phase] {
			rnd := randomFor(spec.Faults.Seed, spec.WorkflowID, a.id, "time")
			from := time.Duration(begin + length*0.06*float64(j))
			to := time.Duration(begin + length*(0.55+0.14*float64(j)+0.1*rnd.Float64()))
			all = append(all, moment{from, a, false, 0}, moment{to, a, true, to - from})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	return all
}

// writer writes webhooks in order, each with a timestamp of its own.
type writer struct {
	spec  Spec
	start time.Time
	next  time.Duration // the earliest for the next one
	out   []delivery
	err   error
}

func (w *writer) time(at time.Duration) string {
	return w.start.Add(at).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func (w *writer) write(at time.Duration, eventType, agentID string, data map[string]any) {
	at = max(at.Truncate(tick), w.next)
	w.next = at + tick
	body, err := json.Marshal(callback{
		EventType: eventType, Timestamp: w.time(at), WorkflowID: w.spec.WorkflowID, WorkflowName: WorkflowName,
		AgentID: agentID, CorrelationID: w.spec.CorrelationID, Data: data,
	})
	if err != nil {
		w.err = err
	}
	w.out = append(w.out, delivery{at, body})
}

func (w *writer) success(m moment) {
	found := m.agent.resultsOf(w.spec.Faults.Seed, w.spec.WorkflowID)
	w.write(m.at, "agent_status_update", m.agent.id, map[string]any{
		"agent_status": map[string]any{
			"previous_status": "running", "current_status": "completed", "execution_time_ms": m.took.Milliseconds(),
			"confidence_score": found.ConfidenceScore, "results_available": true,
		},
		"results": found,
	})
}

func (w *writer) failure(m moment) {
	const message = "the data source of the agent did not answer (simulated)"
	w.write(m.at, "agent_status_update", m.agent.id, map[string]any{
		"agent_status": map[string]any{
			"previous_status": "running", "current_status": "failed", "execution_time_ms": m.took.Milliseconds(),
			"results_available": false,
			"error_details":     map[string]any{"error_type": "data_source_unavailable", "error_message": message, "retryable": true},
		},
	})
	w.write(m.at, "error_notification", m.agent.id, map[string]any{"error_notification": map[string]any{
		"error_type": "data_source_unavailable", "error_message": message, "affected_agents": []string{m.agent.id},
		"severity": "high", "recovery_action": "run the agent again with retry_failed_only",
	}})
}

// completion writes the end of the workflow. It has failed if no agent completed, and it is
// partial if some failed.
func (w *writer) completion(completed, failed int) {
	status, result := "completed", "completed"
	switch {
	case completed == 0:
		status, result = "failed", "failed"
	case failed > 0:
		result = "partial"
	}
	at := max(w.spec.Duration, w.next)
	w.write(at, "workflow_completion", "", map[string]any{"workflow_completion": map[string]any{
		"status": status, "completion_status": result, "total_execution_time_ms": at.Milliseconds(),
		"successful_agents": completed, "failed_agents": failed, "results_available": completed > 0,
	}})
}

// applyFaults drops, repeats and reorders webhooks.
func applyFaults(spec Spec, all []delivery) plan {
	f := spec.Faults
	rnd := randomFor(f.Seed, spec.WorkflowID, "faults")
	var p plan
	for _, d := range all {
		if rnd.Float64()*100 < f.Drop {
			p.dropped += 1 + f.Repeat
			continue
		}
		for range 1 + f.Repeat {
			p.deliveries = append(p.deliveries, d)
		}
	}
	if f.Reorder {
		for window := range slices.Chunk(p.deliveries, reorderWindow) {
			// The times stay where they are, the bodies change places.
			rnd.Shuffle(len(window), func(i, j int) { window[i].body, window[j].body = window[j].body, window[i].body })
		}
	}
	return p
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(have string) bool { return strings.EqualFold(have, s) })
}
