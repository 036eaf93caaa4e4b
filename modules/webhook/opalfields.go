package webhook

import (
	"math"
	"strconv"

	"github.com/osa-edge/osa-gateway/event"
)

// opalField is a field of OPAL's webhooks that the mapping reads, in whatever object it
// stands.
type opalField int

const (
	fieldWorkflowID opalField = iota
	fieldWorkflowName
	fieldAgentID
	fieldTimestamp
	fieldEventType
	fieldType
	fieldExecutionStatus
	fieldCorrelationID
	fieldSeverity
	fieldPriority
	fieldStatus
	fieldData
	fieldAgentStatus
	fieldWorkflowProgress
	fieldWorkflowCompletion
	fieldErrorNotification
	fieldError
	fieldErrorMessage
	fieldErrorDetails
	fieldErrorType
	fieldRecoveryAction
	fieldAffectedAgents
	fieldPreviousStatus
	fieldCurrentStatus
	fieldExecutionTime
	fieldTotalExecutionTime
	fieldConfidence
	fieldProgress
	fieldCompletedAgents
	fieldTotalAgents
	fieldFailedAgents
	fieldSuccessfulAgents
	fieldCurrentPhase
	fieldEstimatedCompletion
	fieldResultsAvailable
	opalFieldCount
)

func opalFieldOf(name string) (opalField, bool) {
	switch name {
	case "workflow_id":
		return fieldWorkflowID, true
	case "workflow_name":
		return fieldWorkflowName, true
	case "agent_id":
		return fieldAgentID, true
	case "timestamp":
		return fieldTimestamp, true
	case "event_type":
		return fieldEventType, true
	case "type":
		return fieldType, true
	case "execution_status":
		return fieldExecutionStatus, true
	case "correlation_id":
		return fieldCorrelationID, true
	case "severity":
		return fieldSeverity, true
	case "priority":
		return fieldPriority, true
	case "status":
		return fieldStatus, true
	case "data":
		return fieldData, true
	case "agent_status":
		return fieldAgentStatus, true
	case "workflow_progress":
		return fieldWorkflowProgress, true
	case "workflow_completion":
		return fieldWorkflowCompletion, true
	case "error_notification":
		return fieldErrorNotification, true
	case "error":
		return fieldError, true
	case "error_message":
		return fieldErrorMessage, true
	case "error_details":
		return fieldErrorDetails, true
	case "error_type":
		return fieldErrorType, true
	case "recovery_action":
		return fieldRecoveryAction, true
	case "affected_agents":
		return fieldAffectedAgents, true
	case "previous_status":
		return fieldPreviousStatus, true
	case "current_status":
		return fieldCurrentStatus, true
	case "execution_time_ms":
		return fieldExecutionTime, true
	case "total_execution_time_ms":
		return fieldTotalExecutionTime, true
	case "confidence_score":
		return fieldConfidence, true
	case "progress_percentage":
		return fieldProgress, true
	case "completed_agents":
		return fieldCompletedAgents, true
	case "total_agents":
		return fieldTotalAgents, true
	case "failed_agents":
		return fieldFailedAgents, true
	case "successful_agents":
		return fieldSuccessfulAgents, true
	case "current_phase":
		return fieldCurrentPhase, true
	case "estimated_completion":
		return fieldEstimatedCompletion, true
	case "results_available":
		return fieldResultsAvailable, true
	}
	return 0, false
}

// opalFields are the raw JSON tokens of the fields of one object. A field that is absent
// is "".
type opalFields [opalFieldCount]string

// read reads the fields of an object. If a name is given twice, the last one counts, as in
// JavaScript.
func (m *opalFields) read(object string) {
	eachField(object, func(name, value string) {
		if i, known := opalFieldOf(name); known {
			m[i] = value
		}
	})
}

// readNested reads the fields of an object that is itself a field. It reports whether the
// field is an object.
func (m *opalFields) readNested(of *opalFields, name opalField) bool {
	raw := of[name]
	if raw == "" || raw[0] != '{' {
		return false
	}
	*m = opalFields{}
	m.read(raw)
	return true
}

// setDetails sets those of d that the object has. A field of another type or out of range
// is left out of d: it is still in the body.
func (m *opalFields) setDetails(d *event.Details) {
	setText(&d.PreviousStatus, m[fieldPreviousStatus])
	setText(&d.CurrentStatus, m[fieldCurrentStatus])
	setText(&d.EstimatedCompletion, m[fieldEstimatedCompletion])
	setText(&d.ErrorType, m[fieldErrorType])
	setText(&d.RecoveryAction, m[fieldRecoveryAction])
	setFloat(&d.ExecutionTimeMS, m[fieldExecutionTime], maxMilliseconds)
	setFloat(&d.ExecutionTimeMS, m[fieldTotalExecutionTime], maxMilliseconds)
	setFloat(&d.ConfidenceScore, m[fieldConfidence], 1)
	setFloat(&d.ProgressPercentage, m[fieldProgress], 100)
	setCount(&d.CompletedAgents, m[fieldCompletedAgents])
	setCount(&d.TotalAgents, m[fieldTotalAgents])
	setCount(&d.FailedAgents, m[fieldFailedAgents])
	setCount(&d.SuccessfulAgents, m[fieldSuccessfulAgents])
	setCount(&d.CurrentPhase, m[fieldCurrentPhase])
	switch m[fieldResultsAvailable] {
	case "true", "false":
		v := m[fieldResultsAvailable] == "true"
		d.ResultsAvailable = &v
	}
	if raw := m[fieldAffectedAgents]; raw != "" && raw[0] == '[' {
		d.AffectedAgents = nil
		eachElement(raw, func(agent string) bool {
			if agent[0] == '"' {
				d.AffectedAgents = append(d.AffectedAgents, text(agent, maxDetail))
			}
			return len(d.AffectedAgents) < maxAffected
		})
	}
}

// message returns the text of an error: the field is a string or an object with a message.
func message(raw string) string {
	if raw != "" && raw[0] == '{' {
		var found string
		eachField(raw, func(name, value string) {
			switch name {
			case "message":
				found = text(value, maxErrorMessage)
			case "error_message":
				if found == "" {
					found = text(value, maxErrorMessage)
				}
			}
		})
		return found
	}
	return text(raw, maxErrorMessage)
}

func setText(dst *string, raw string) {
	if raw != "" && raw[0] == '"' {
		*dst = text(raw, maxDetail)
	}
}

// maxMilliseconds is the longest execution time. Sums of such times do not overflow.
const maxMilliseconds = 1e15

// setFloat sets a number from 0 to limit.
func setFloat(dst **float64, raw string, limit float64) {
	if f, ok := number(raw); ok && f >= 0 && f <= limit {
		*dst = new(f) // not &f, which would allocate for fields that are absent
	}
}

// maxCount is the largest integer that JavaScript represents exactly.
const maxCount = 1<<53 - 1

func setCount(dst **int64, raw string) {
	if f, ok := number(raw); ok && f >= 0 && f <= maxCount && f == math.Trunc(f) {
		*dst = new(int64(f))
	}
}

func number(raw string) (float64, bool) {
	if raw == "" || (raw[0] != '-' && (raw[0] < '0' || raw[0] > '9')) {
		return 0, false
	}
	f, err := strconv.ParseFloat(raw, 64)
	return f, err == nil
}
