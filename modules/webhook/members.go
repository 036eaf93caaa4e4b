package webhook

import (
	"math"
	"strconv"

	"github.com/osa-edge/osa-gateway/event"
)

// member is a name that the OPAL mapping looks for, whatever object it is in.
type member int

const (
	mWorkflowID member = iota
	mWorkflowName
	mAgentID
	mTimestamp
	mEventType
	mType
	mExecutionStatus
	mCorrelationID
	mSeverity
	mPriority
	mStatus
	mData
	mAgentStatus
	mWorkflowProgress
	mWorkflowCompletion
	mErrorNotification
	mError
	mErrorMessage
	mErrorDetails
	mErrorType
	mRecoveryAction
	mAffectedAgents
	mPreviousStatus
	mCurrentStatus
	mExecutionTime
	mTotalExecutionTime
	mConfidence
	mProgress
	mCompletedAgents
	mTotalAgents
	mFailedAgents
	mSuccessfulAgents
	mCurrentPhase
	mEstimatedCompletion
	mResultsAvailable
	memberCount
)

func memberOf(name string) (member, bool) {
	switch name {
	case "workflow_id":
		return mWorkflowID, true
	case "workflow_name":
		return mWorkflowName, true
	case "agent_id":
		return mAgentID, true
	case "timestamp":
		return mTimestamp, true
	case "event_type":
		return mEventType, true
	case "type":
		return mType, true
	case "execution_status":
		return mExecutionStatus, true
	case "correlation_id":
		return mCorrelationID, true
	case "severity":
		return mSeverity, true
	case "priority":
		return mPriority, true
	case "status":
		return mStatus, true
	case "data":
		return mData, true
	case "agent_status":
		return mAgentStatus, true
	case "workflow_progress":
		return mWorkflowProgress, true
	case "workflow_completion":
		return mWorkflowCompletion, true
	case "error_notification":
		return mErrorNotification, true
	case "error":
		return mError, true
	case "error_message":
		return mErrorMessage, true
	case "error_details":
		return mErrorDetails, true
	case "error_type":
		return mErrorType, true
	case "recovery_action":
		return mRecoveryAction, true
	case "affected_agents":
		return mAffectedAgents, true
	case "previous_status":
		return mPreviousStatus, true
	case "current_status":
		return mCurrentStatus, true
	case "execution_time_ms":
		return mExecutionTime, true
	case "total_execution_time_ms":
		return mTotalExecutionTime, true
	case "confidence_score":
		return mConfidence, true
	case "progress_percentage":
		return mProgress, true
	case "completed_agents":
		return mCompletedAgents, true
	case "total_agents":
		return mTotalAgents, true
	case "failed_agents":
		return mFailedAgents, true
	case "successful_agents":
		return mSuccessfulAgents, true
	case "current_phase":
		return mCurrentPhase, true
	case "estimated_completion":
		return mEstimatedCompletion, true
	case "results_available":
		return mResultsAvailable, true
	}
	return 0, false
}

// members are the raw JSON tokens of one object's members; "" is absent.
type members [memberCount]string

// read takes the members of an object. Of members with the same name the last
// one counts, as in JavaScript.
func (m *members) read(object string) {
	eachMember(object, func(name, value string) {
		if i, known := memberOf(name); known {
			m[i] = value
		}
	})
}

// inner reads a member that is an object; false if it is none.
func (m *members) inner(of *members, name member) bool {
	raw := of[name]
	if raw == "" || raw[0] != '{' {
		return false
	}
	*m = members{}
	m.read(raw)
	return true
}

// details sets what the object says of d and leaves everything else alone. What
// has another type or makes no sense is left out: the body has it as it came.
func (m *members) details(d *event.Details) {
	setText(&d.PreviousStatus, m[mPreviousStatus])
	setText(&d.CurrentStatus, m[mCurrentStatus])
	setText(&d.EstimatedCompletion, m[mEstimatedCompletion])
	setText(&d.ErrorType, m[mErrorType])
	setText(&d.RecoveryAction, m[mRecoveryAction])
	setFloat(&d.ExecutionTimeMS, m[mExecutionTime], maxMilliseconds)
	setFloat(&d.ExecutionTimeMS, m[mTotalExecutionTime], maxMilliseconds)
	setFloat(&d.ConfidenceScore, m[mConfidence], 1)
	setFloat(&d.ProgressPercentage, m[mProgress], 100)
	setCount(&d.CompletedAgents, m[mCompletedAgents])
	setCount(&d.TotalAgents, m[mTotalAgents])
	setCount(&d.FailedAgents, m[mFailedAgents])
	setCount(&d.SuccessfulAgents, m[mSuccessfulAgents])
	setCount(&d.CurrentPhase, m[mCurrentPhase])
	switch m[mResultsAvailable] {
	case "true", "false":
		v := m[mResultsAvailable] == "true"
		d.ResultsAvailable = &v
	}
	if raw := m[mAffectedAgents]; raw != "" && raw[0] == '[' {
		d.AffectedAgents = nil
		eachElement(raw, func(agent string) bool {
			if agent[0] == '"' {
				d.AffectedAgents = append(d.AffectedAgents, text(agent, maxDetail))
			}
			return len(d.AffectedAgents) < maxAffected
		})
	}
}

// message is the error text of an object's member: a string, or an object with
// one.
func message(raw string) string {
	if raw != "" && raw[0] == '{' {
		var found string
		eachMember(raw, func(name, value string) {
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

// maxMilliseconds bounds run times, so that no sum of them can overflow.
const maxMilliseconds = 1e15

// setFloat takes a number from 0 to limit.
func setFloat(dst **float64, raw string, limit float64) {
	if f, ok := number(raw); ok && f >= 0 && f <= limit {
		*dst = new(f) // not &f, which would make an f of every member that is absent
	}
}

// maxCount is the largest integer that JavaScript counts exactly.
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
