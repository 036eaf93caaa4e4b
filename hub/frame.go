package hub

import (
	"strconv"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/sensitive"
)

// Names of the events that are about the stream itself.
const (
	// EventReset: the log does not hold the position that the client resumed
	// from.
	EventReset = "stream_reset"
	// EventGap: events were skipped for a slow client with the policy Latest.
	EventGap = "gap"
	// EventEnd: the stream ends, with the reason.
	EventEnd = "stream_end"
)

// AppendEvent appends the event in the form that clients receive (WHATWG HTML
// §9.2.6, docs/api.md §5): id, name and one line of JSON. A member that the event
// does not have is null, so that all events of one name have the same members.
func AppendEvent(dst []byte, e *event.Event) []byte {
	dst = append(dst, "id: "...)
	dst = event.AppendID(dst, e.Seq)
	dst = append(dst, '\n')
	name := e.StreamName()
	if name != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, name...)
		dst = append(dst, '\n')
	}
	dst = append(dst, "data: "...)
	o := object{dst}
	o.open()
	switch name {
	case event.StreamAgentStatusChange:
		agentStatus(&o, e)
	case event.StreamWorkflowProgressUpdate:
		workflowProgress(&o, e)
	case event.StreamErrorNotification:
		errorNotification(&o, e)
	case event.StreamSystemHealthAlert:
		healthAlert(&o, e)
	default:
		processed(&o, e)
	}
	o.close()
	return append(o.b, '\n', '\n')
}

func agentStatus(o *object, e *event.Event) {
	d := &e.Details
	o.stringOrNull("workflow_id", e.WorkflowID)
	o.stringOrNull("workflow_name", e.WorkflowName)
	o.stringOrNull("agent_id", e.AgentID)
	o.stringOrNull("previous_status", d.PreviousStatus)
	current := d.CurrentStatus
	if current == "" {
		current = string(e.Status)
	}
	o.stringOrNull("current_status", current)
	o.stringOrNull("status", string(e.Status))
	o.float("execution_time_ms", d.ExecutionTimeMS)
	o.bool("results_available", d.ResultsAvailable)
	o.float("confidence_score", d.ConfidenceScore)
	o.float("progress_percentage", d.ProgressPercentage)
	o.maskedString("error_message", e.ErrorMessage)
	appendCommon(o, e)
}

func workflowProgress(o *object, e *event.Event) {
	d := &e.Details
	o.stringOrNull("workflow_id", e.WorkflowID)
	o.stringOrNull("workflow_name", e.WorkflowName)
	o.stringOrNull("agent_id", e.AgentID)
	o.stringOrNull("status", string(e.Status))
	o.int("completed_agents", d.CompletedAgents)
	o.int("total_agents", d.TotalAgents)
	o.int("successful_agents", d.SuccessfulAgents)
	o.int("failed_agents", d.FailedAgents)
	o.int("current_phase", d.CurrentPhase)
	o.float("progress_percentage", progress(e))
	o.stringOrNull("estimated_completion", d.EstimatedCompletion)
	o.float("execution_time_ms", d.ExecutionTimeMS)
	o.bool("results_available", d.ResultsAvailable)
	o.maskedString("error_message", e.ErrorMessage)
	appendCommon(o, e)
}

// progress returns the sender's percentage, or the one computed from its
// counts. It is 100 for a workflow that completed.
func progress(e *event.Event) *float64 {
	d := &e.Details
	var p float64
	switch {
	case d.ProgressPercentage != nil:
		return d.ProgressPercentage
	case e.Kind == event.KindWorkflowCompletion && e.Status == event.StatusCompleted:
		p = 100
	case d.CompletedAgents != nil && d.TotalAgents != nil && *d.TotalAgents > 0:
		p = min(100, max(0, float64(*d.CompletedAgents*1000 / *d.TotalAgents)/10))
	default:
		return nil
	}
	return &p
}

func errorNotification(o *object, e *event.Event) {
	d := &e.Details
	o.stringOrNull("workflow_id", e.WorkflowID)
	o.stringOrNull("workflow_name", e.WorkflowName)
	o.stringOrNull("agent_id", e.AgentID)
	o.stringOrNull("error_type", d.ErrorType)
	o.maskedString("message", e.ErrorMessage)
	o.string("severity", severity(e))
	o.strings("affected_agents", d.AffectedAgents)
	o.maskedString("recovery_action", d.RecoveryAction)
	appendCommon(o, e)
}

func healthAlert(o *object, e *event.Event) {
	d := &e.Details
	o.stringOrNull("workflow_id", e.WorkflowID)
	o.stringOrNull("agent_id", e.AgentID)
	o.stringOrNull("alert_type", d.ErrorType)
	o.string("severity", severity(e))
	o.maskedString("message", e.ErrorMessage)
	action := e.Priority() >= event.PriorityHigh
	o.bool("action_required", &action)
	var steps []string
	if d.RecoveryAction != "" {
		steps = []string{sensitive.Text(d.RecoveryAction, sensitive.Masked)}
	}
	o.strings("resolution_steps", steps)
	appendCommon(o, e)
}

// severity returns the severity as sent, or medium.
func severity(e *event.Event) string {
	if e.Severity == "" {
		return event.PriorityMedium.String()
	}
	return e.Severity
}

// appendCommon appends the members that all named events end with.
func appendCommon(o *object, e *event.Event) {
	if e.ReplayOf != 0 {
		o.id("replay_of", e.ReplayOf)
	}
	timestamp(o, e)
	o.id("event_id", e.Seq)
}

// processed appends the data of an unnamed event.
func processed(o *object, e *event.Event) {
	o.string("type", "webhook_processed")
	o.string("updateType", "event")
	timestamp(o, e)
	o.key("data")
	o.open()
	o.id("event_id", e.Seq)
	o.stringOrNull("event_type", e.Type)
	o.stringOrNull("workflow_id", e.WorkflowID)
	o.stringOrNull("agent_id", e.AgentID)
	o.stringOrNull("status", string(e.Status))
	o.string("processing_status", "processed")
	ms := event.Milliseconds(e.ProcessingTime)
	o.float("processing_time_ms", &ms)
	if e.ReplayOf != 0 {
		o.id("replay_of", e.ReplayOf)
	}
	o.close()
}

// maskedString writes free text with everything that looks like a credential
// masked.
func (o *object) maskedString(name, v string) {
	o.stringOrNull(name, sensitive.Text(v, sensitive.Masked))
}

func (o *object) id(name string, seq uint64) {
	o.key(name)
	o.b = append(o.b, '"')
	o.b = event.AppendID(o.b, seq)
	o.b = append(o.b, '"')
}

// timestamp writes the payload's own time, or when the event was received.
func timestamp(o *object, e *event.Event) {
	if t := e.Details.Timestamp; t != "" {
		o.string("timestamp", t)
		return
	}
	o.time("timestamp", e.ReceivedAt)
}

func (o *object) time(name string, t time.Time) {
	o.key(name)
	o.b = append(o.b, '"')
	o.b = t.UTC().AppendFormat(o.b, "2006-01-02T15:04:05.000Z07:00")
	o.b = append(o.b, '"')
}

// AppendReset appends a stream_reset. Its id replaces the one that the client
// resumed from, so that the client does not send the invalid id again.
func AppendReset(dst []byte, reason string, from uint64) []byte {
	dst = append(dst, "id: "...)
	dst = event.AppendID(dst, from)
	dst = append(dst, "\nevent: "+EventReset+"\ndata: "...)
	o := object{dst}
	o.open()
	o.string("reason", reason)
	o.id("from_id", from)
	o.close()
	return append(o.b, '\n', '\n')
}

// AppendRefusal appends the whole stream of a client that is refused for now:
// when to reconnect, and why.
func AppendRefusal(dst []byte, reason string, wait time.Duration) []byte {
	dst = AppendRetry(dst, wait)
	o := object{append(dst, "event: "+EventEnd+"\ndata: "...)}
	o.open()
	o.string("reason", reason)
	o.key("retry_ms")
	o.b = strconv.AppendInt(o.b, wait.Milliseconds(), 10)
	o.close()
	return append(o.b, '\n', '\n')
}

// AppendEnd appends a stream_end.
func AppendEnd(dst []byte, reason string) []byte {
	o := object{append(dst, "event: "+EventEnd+"\ndata: "...)}
	o.open()
	o.string("reason", reason)
	o.close()
	return append(o.b, '\n', '\n')
}

// AppendRetry appends the delay after which a client reconnects.
func AppendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, d.Milliseconds(), 10)
	return append(dst, '\n', '\n')
}

// appendGap appends a gap event: `skipped` events after `after` and up to
// `through` were left out.
func appendGap(dst []byte, skipped, after, through uint64) []byte {
	dst = append(dst, "id: "...)
	dst = event.AppendID(dst, through)
	o := object{append(dst, "\nevent: "+EventGap+"\ndata: "...)}
	o.open()
	o.key("skipped")
	o.b = strconv.AppendUint(o.b, skipped, 10)
	o.id("after_id", after)
	o.id("through_id", through)
	o.close()
	return append(o.b, '\n', '\n')
}
