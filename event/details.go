package event

// Details are the fields of a payload that streams and projections use, picked
// out once when the event comes in. An absent field is nil or empty.
type Details struct {
	// Timestamp is the payload's own timestamp, as sent.
	Timestamp string
	// PreviousStatus and CurrentStatus are an agent's states as sent.
	PreviousStatus, CurrentStatus string
	// EstimatedCompletion is the sender's estimate, as sent.
	EstimatedCompletion string
	// ErrorType and RecoveryAction describe an error notification.
	ErrorType, RecoveryAction string
	// AffectedAgents are the agents that an error notification names.
	AffectedAgents []string
	// ExecutionTimeMS is an agent's, or a finished workflow's, run time.
	ExecutionTimeMS *float64
	// ConfidenceScore is 0–1.
	ConfidenceScore *float64
	// ProgressPercentage is 0–100.
	ProgressPercentage *float64
	// Counts of a workflow's agents.
	CompletedAgents, TotalAgents, FailedAgents, SuccessfulAgents *int64
	// CurrentPhase counts from 1.
	CurrentPhase *int64
	// ResultsAvailable tells whether results can be fetched.
	ResultsAvailable *bool
}
