package sync

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// trigger is the body of the request to OPAL (docs/api.md §2.20).
type trigger struct {
	WorkflowName  string                     `json:"workflow_name"`
	WorkflowID    string                     `json:"workflow_id"`
	CorrelationID string                     `json:"correlation_id"`
	CallbackURL   string                     `json:"callback_url"`
	SyncScope     *string                    `json:"sync_scope"`
	ClientContext map[string]json.RawMessage `json:"client_context"`
	Metadata      map[string]json.RawMessage `json:"metadata"`
}

func newTrigger(run *Run, req *Request, callbackURL string) trigger {
	t := trigger{
		WorkflowName: WorkflowName, WorkflowID: run.SyncID, CorrelationID: run.CorrelationID,
		CallbackURL: callbackURL, ClientContext: req.ClientContext, Metadata: req.Metadata,
	}
	if req.SyncScope != "" {
		t.SyncScope = &req.SyncScope
	}
	return t
}

// startedEvent is the event of the start of a run. Its body has what OPAL is sent, which
// contains no secret.
func startedEvent(run *Run, t trigger) (*event.Event, error) {
	body, err := json.Marshal(struct {
		EventType string `json:"event_type"`
		Timestamp string `json:"timestamp"`
		trigger
		StartedBy string `json:"started_by,omitempty"`
	}{string(event.KindWorkflowStarted), timestamp(run.StartedAt), t, run.StartedBy})
	if err != nil {
		return nil, err
	}
	total := int64(len(run.Scheduled))
	e := gatewayEvent(run, event.KindWorkflowStarted, event.StatusRunning, body)
	e.Details = event.Details{Timestamp: timestamp(run.StartedAt), TotalAgents: &total}
	return e, nil
}

// endedEvent is the event of the end of a run that OPAL does not report under the run's id:
// OPAL did not accept the trigger, did not report the end, or uses another id. The body
// depends on the run alone, so that the event is deduplicated.
func endedEvent(run *Run) (*event.Event, error) {
	status := event.StatusCompleted
	if run.Phase == PhaseFailed {
		status = event.StatusFailed
	}
	completed, failed := int64(len(run.completed())), int64(len(run.failed()))
	took := event.Milliseconds(run.CompletedAt.Sub(run.StartedAt))
	body, err := json.Marshal(map[string]any{
		"event_type": event.KindWorkflowCompletion, "timestamp": timestamp(*run.CompletedAt),
		"workflow_id": run.SyncID, "workflow_name": WorkflowName, "correlation_id": run.CorrelationID,
		"opal_workflow_id": run.Alias, "error_message": run.Reason,
		"data": map[string]any{"workflow_completion": map[string]any{
			"status": status, "total_execution_time_ms": took,
			"successful_agents": completed, "failed_agents": failed, "results_available": false,
		}},
	})
	if err != nil {
		return nil, err
	}
	e := gatewayEvent(run, event.KindWorkflowCompletion, status, body)
	e.ErrorMessage = run.Reason
	e.Details = event.Details{
		Timestamp: timestamp(*run.CompletedAt), ExecutionTimeMS: &took,
		SuccessfulAgents: &completed, FailedAgents: &failed,
	}
	return e, nil
}

func gatewayEvent(run *Run, kind event.Kind, status event.Status, body []byte) *event.Event {
	return &event.Event{
		ReceivedAt:    time.Now().UTC(),
		WorkspaceID:   run.WorkspaceID,
		Source:        event.SourceGateway,
		Type:          string(kind),
		Kind:          kind,
		WorkflowID:    run.SyncID,
		WorkflowName:  WorkflowName,
		Status:        status,
		CorrelationID: run.CorrelationID,
		DedupKey:      event.DedupKey("force_sync", run.SyncID, run.CorrelationID, string(kind)),
		BodyDigest:    sha256.Sum256(body),
		Size:          len(body),
		Body:          body,
	}
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
