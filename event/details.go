package event

// Details are the fields of a payload that streams and projections use. They
// are extracted when the event is received. An absent field is nil or empty.
type Details struct {
	// Timestamp is the timestamp in the payload, as it was sent.
	Timestamp string
	// PreviousStatus and CurrentStatus are an agent's states, as they were sent.
	PreviousStatus, CurrentStatus string
	// EstimatedCompletion is the sender's estimate, as it was sent.
	EstimatedCompletion string
	// ErrorType and RecoveryAction describe an error notification.
	ErrorType, RecoveryAction string
	// AffectedAgents are the agents named in an error notification.
	AffectedAgents []string
	// ExecutionTimeMS is the run time of an agent or of a finished workflow.
	ExecutionTimeMS *float64
	// ConfidenceScore is between 0 and 1.
	ConfidenceScore *float64
	// ProgressPercentage is between 0 and 100.
	ProgressPercentage *float64
	// The numbers of a workflow's agents.
	CompletedAgents, TotalAgents, FailedAgents, SuccessfulAgents *int64
	// CurrentPhase starts at 1.
	CurrentPhase *int64
	// ResultsAvailable says whether results can be fetched.
	ResultsAvailable *bool
}
