package storagetest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// Agents are the names of the agents that generated events come from.
var Agents = []string{
	"experiment_blueprinter", "audience_suggester", "content_review", "roadmap_generator", "integration_health",
	"personalization_idea_generator", "cmp_organizer", "customer_journey", "geo_audit",
}

// Generator generates events like those of the platform, of about 1 KiB each.
// The same seed generates the same events.
type Generator struct {
	rng  *rand.Rand
	n    int
	now  time.Time
	runs []string
}

// NewGenerator returns a generator whose first event is received at start.
func NewGenerator(seed uint64, start time.Time) *Generator {
	return &Generator{rng: rand.New(rand.NewPCG(seed, 1)), now: start.UTC()}
}

// Next returns the next event. The events belong to about nine workflows that
// run at the same time.
func (g *Generator) Next() *event.Event {
	if len(g.runs) < 9 || g.rng.IntN(10) == 0 {
		run := fmt.Sprintf("strategy_workflow_%d_%08x", g.now.UnixMilli(), g.rng.Uint32())
		if g.runs = append(g.runs, run); len(g.runs) > 9 {
			g.runs = g.runs[1:]
		}
	}
	g.n++
	g.now = g.now.Add(time.Duration(1+g.rng.IntN(40)) * time.Millisecond)
	e := &event.Event{
		ReceivedAt: g.now, LoggedAt: g.now, WorkspaceID: "ws_main", Source: "opal",
		WorkflowID: g.runs[g.rng.IntN(len(g.runs))], WorkflowName: "strategy_workflow",
		AgentID: Agents[g.rng.IntN(len(Agents))], CorrelationID: fmt.Sprintf("force-sync-%d-%06x", g.now.Unix(), g.rng.Uint32()>>8),
		ProcessingTime: time.Duration(g.rng.IntN(400)) * time.Microsecond,
	}
	g.describe(e)
	e.Details.Timestamp = g.now.Format(time.RFC3339Nano)
	e.Body = g.body(e)
	Seal(e)
	return e
}

func (g *Generator) describe(e *event.Event) {
	ms, score := float64(g.rng.IntN(90_000)), float64(g.rng.IntN(1000))/1000
	switch g.rng.IntN(12) {
	case 0:
		e.Type, e.Status, e.Severity = "error_notification", event.StatusFailed, "high"
		e.ErrorMessage = "Upstream segment service timed out after 30000 ms"
		e.Details.ErrorType, e.Details.RecoveryAction = "timeout", "retry_scheduled"
		e.Details.AffectedAgents = []string{e.AgentID}
	case 1:
		e.Type, e.Status, e.AgentID = "workflow_completion", event.StatusCompleted, ""
		e.Details.ExecutionTimeMS = &ms
	case 2, 3:
		progress := float64(g.rng.IntN(100))
		e.Type, e.Status, e.AgentID = "workflow_progress", event.StatusRunning, ""
		e.Details.ProgressPercentage = &progress
	default:
		e.Type, e.Status = "agent_status_update", []event.Status{event.StatusRunning, event.StatusCompleted, event.StatusStarting}[g.rng.IntN(3)]
		e.Details.PreviousStatus, e.Details.CurrentStatus = "starting", string(e.Status)
		e.Details.ExecutionTimeMS, e.Details.ConfidenceScore = &ms, &score
	}
	e.Kind, _ = event.KindOf(e.Type)
}

var findings = []string{
	"High-intent visitors from organic search abandon the configurator at step three",
	"Returning customers respond to bundled offers in the second week",
	"The mobile checkout loses a fifth of its sessions to address validation",
	"Content hubs without a clear owner are refreshed half as often",
	"Personalised hero banners lift engagement for the loyalty segment",
}

func (g *Generator) body(e *event.Event) []byte {
	recommendations := make([]map[string]any, 2+g.rng.IntN(2))
	for i := range recommendations {
		recommendations[i] = map[string]any{
			"id": fmt.Sprintf("rec_%08x", g.rng.Uint32()), "title": findings[g.rng.IntN(len(findings))],
			"impact": []string{"low", "medium", "high"}[g.rng.IntN(3)], "estimated_lift": float64(g.rng.IntN(3000)) / 100,
		}
	}
	payload := map[string]any{
		"event_type": e.Type, "workflow_id": e.WorkflowID, "workflow_name": e.WorkflowName, "agent_id": e.AgentID,
		"timestamp": e.Details.Timestamp, "status": e.Status, "correlation_id": e.CorrelationID,
		"agent_data": map[string]any{
			"execution_id": fmt.Sprintf("%016x%016x", g.rng.Uint64(), g.rng.Uint64()), "execution_time_ms": g.rng.IntN(90_000),
			"confidence_score": float64(g.rng.IntN(1000)) / 1000, "recommendations": recommendations,
			"tools_called": []string{"osa_store_workflow_data", "osa_retrieve_workflow_context"},
		},
		"metadata": map[string]any{"platform": "opal", "region": "eu-central-1", "trace_id": fmt.Sprintf("%016x%016x", g.rng.Uint64(), g.rng.Uint64())},
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	return raw
}

// Seal sets the fields that depend on others: size, digest and dedup key.
func Seal(e *event.Event) {
	e.Size = len(e.Body)
	e.BodyDigest = sha256.Sum256(e.Body)
	e.DedupKey = event.DedupKey(e.WorkflowID, e.AgentID, e.Details.Timestamp, e.Type)
}

// Filler returns text of n bytes that compresses about as well as prose.
func Filler(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	var b strings.Builder
	b.Grow(n + 80)
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %08x. ", findings[rng.IntN(len(findings))], rng.Uint32())
	}
	return []byte(b.String()[:n])
}
