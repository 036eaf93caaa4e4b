package event

import "strings"

// Kind is the kind of an event. Event types are open: any type is kept, and
// mapped to one of these kinds.
type Kind string

// The kinds (docs/api.md §2.17).
const (
	KindAgentStatus        Kind = "agent_status"
	KindWorkflowStarted    Kind = "workflow_started"
	KindWorkflowProgress   Kind = "workflow_progress"
	KindWorkflowCompletion Kind = "workflow_completion"
	KindError              Kind = "error"
	KindOther              Kind = "other"
)

// Kinds lists every kind.
var Kinds = []Kind{
	KindAgentStatus, KindWorkflowStarted, KindWorkflowProgress,
	KindWorkflowCompletion, KindError, KindOther,
}

// TypeSystemHealthAlert is the type of alerts of the gateway.
const TypeSystemHealthAlert = "system_health_alert"

// Names of stream events: the `event:` field of a Server-Sent Event.
const (
	StreamAgentStatusChange       = "agent_status_change"
	StreamWorkflowProgressUpdate  = "workflow_progress_update"
	StreamPerformanceMetricUpdate = "performance_metric_update"
	StreamErrorNotification       = "error_notification"
	StreamSystemHealthAlert       = "system_health_alert"
)

// KindOf maps an event type to its kind. known is false for a type that the
// OPAL documents do not name.
func KindOf(eventType string) (kind Kind, known bool) {
	switch eventType {
	case "agent_status_update", "agent_completed":
		return KindAgentStatus, true
	case "started", "workflow_started":
		return KindWorkflowStarted, true
	case "workflow_progress":
		return KindWorkflowProgress, true
	case "workflow_completion", "completed", "failed":
		return KindWorkflowCompletion, true
	case "error_notification":
		return KindError, true
	}
	return KindOther, false
}

// StreamName returns the name of the event on streams, or "" for an unnamed
// message.
func (e *Event) StreamName() string {
	if e.Kind == KindOther && e.Type == TypeSystemHealthAlert && e.Source == SourceGateway {
		return StreamSystemHealthAlert
	}
	switch e.Kind {
	case KindAgentStatus:
		return StreamAgentStatusChange
	case KindWorkflowStarted, KindWorkflowProgress, KindWorkflowCompletion:
		return StreamWorkflowProgressUpdate
	case KindError:
		return StreamErrorNotification
	}
	return ""
}

// kindsOfStreamName is the reverse of StreamName.
func kindsOfStreamName(name string) []Kind {
	switch name {
	case StreamAgentStatusChange:
		return []Kind{KindAgentStatus}
	case StreamWorkflowProgressUpdate:
		return []Kind{KindWorkflowStarted, KindWorkflowProgress, KindWorkflowCompletion}
	case StreamErrorNotification:
		return []Kind{KindError}
	}
	return nil
}

// Status is a normalised status.
type Status string

// The statuses (docs/api.md §2.17).
const (
	StatusIdle      Status = "idle"
	StatusStarting  Status = "starting"
	StatusPending   Status = "pending"
	StatusRunning   Status = "running"
	StatusCompleted Status = "completed"
	StatusFailed    Status = "failed"
	StatusTimeout   Status = "timeout"
)

// Terminal reports whether the status is the last one of an execution.
func (s Status) Terminal() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusTimeout
}

// NormalizeStatus maps a status as sent to a normalised one, or to "" if it is
// unknown.
func NormalizeStatus(s string) Status {
	switch s = strings.ToLower(s); s {
	case "idle", "starting", "pending", "running", "completed", "failed", "timeout":
		return Status(s)
	case "success", "succeeded", "complete", "done":
		return StatusCompleted
	case "failure", "error":
		return StatusFailed
	case "in_progress", "started":
		return StatusRunning
	case "queued", "initiated":
		return StatusPending
	case "timed_out":
		return StatusTimeout
	}
	return ""
}

// Priority orders events for filters, from low to critical.
type Priority uint8

// The priorities.
const (
	PriorityLow Priority = iota + 1
	PriorityMedium
	PriorityHigh
	PriorityCritical
)

// ParsePriority maps a severity to its priority. `urgent` is `critical`; an
// empty or unknown severity is medium (docs/api.md §5).
func ParsePriority(s string) Priority {
	p, _ := LookupPriority(s)
	return p
}

// LookupPriority is ParsePriority that also reports whether the severity is
// known.
func LookupPriority(s string) (Priority, bool) {
	switch strings.ToLower(s) {
	case "low":
		return PriorityLow, true
	case "medium":
		return PriorityMedium, true
	case "high":
		return PriorityHigh, true
	case "critical", "urgent":
		return PriorityCritical, true
	}
	return PriorityMedium, false
}

// String returns the name that filters and JSON use.
func (p Priority) String() string {
	switch p {
	case PriorityLow:
		return "low"
	case PriorityMedium:
		return "medium"
	case PriorityHigh:
		return "high"
	case PriorityCritical:
		return "critical"
	}
	return ""
}
