package sync

import (
	"fmt"
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/sensitive"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

// internalWorkflow and externalOPAL are the runbook's sync_details.
type internalWorkflow struct {
	Enabled    bool   `json:"enabled"`
	WorkflowID string `json:"workflow_id"`
}

type externalOPAL struct {
	// Triggered is set if OPAL accepted the trigger.
	Triggered bool `json:"triggered"`
	// WorkflowID is the id that OPAL has for the workflow.
	WorkflowID    string          `json:"workflow_id"`
	AIAgentsCount int             `json:"ai_agents_count"`
	Delivery      client.Delivery `json:"delivery"`
	// HTTPStatus is the status of OPAL's response. It is null without one.
	HTTPStatus *int `json:"http_status"`
}

type syncDetails struct {
	InternalWorkflow internalWorkflow `json:"internal_workflow"`
	ExternalOPAL     externalOPAL     `json:"external_opal"`
}

// report is a run as clients see it: the fields of both documents (docs/api.md §2.8), the
// start and the deadline.
type report struct {
	SyncID             string      `json:"sync_id"`
	CorrelationID      string      `json:"correlation_id"`
	Status             Phase       `json:"status"`
	SyncDetails        syncDetails `json:"sync_details"`
	WorkflowsTriggered []string    `json:"workflows_triggered"`
	// AgentsSynced are the agents that have completed so far.
	AgentsSynced    []string               `json:"agents_synced"`
	AgentsFailed    []string               `json:"agents_failed"`
	AgentsScheduled []string               `json:"agents_scheduled"`
	Agents          map[string]AgentStatus `json:"agents"`
	// RetryAttempts counts the calls to OPAL after the first one.
	RetryAttempts  int        `json:"retry_attempts"`
	StartedAt      time.Time  `json:"started_at"`
	TimeoutAt      time.Time  `json:"timeout_at"`
	CompletionTime *time.Time `json:"completion_time"`
	ErrorMessage   *string    `json:"error_message"`
}

func newReport(run *Run) report {
	accepted := run.Delivery == client.Accepted
	rep := report{
		SyncID: run.SyncID, CorrelationID: run.CorrelationID, Status: run.Phase,
		SyncDetails: syncDetails{
			InternalWorkflow: internalWorkflow{Enabled: true, WorkflowID: run.SyncID},
			ExternalOPAL: externalOPAL{
				Triggered: accepted, WorkflowID: run.WorkflowID(),
				AIAgentsCount: len(run.Scheduled), Delivery: run.Delivery,
			},
		},
		WorkflowsTriggered: []string{},
		AgentsSynced:       run.completed(), AgentsFailed: run.failed(), AgentsScheduled: run.Scheduled,
		Agents: run.Agents, RetryAttempts: max(0, run.Attempts-1),
		StartedAt: run.StartedAt, TimeoutAt: run.Deadline, CompletionTime: run.CompletedAt,
	}
	if run.OPALStatus != 0 {
		rep.SyncDetails.ExternalOPAL.HTTPStatus = &run.OPALStatus
	}
	if run.Delivery != client.Refused && run.Delivery != client.Unreachable {
		rep.WorkflowsTriggered = append(rep.WorkflowsTriggered, run.WorkflowID())
	}
	if rep.Agents == nil {
		rep.Agents = map[string]AgentStatus{}
	}
	if run.Reason != "" {
		reason := sensitive.Text(run.Reason, sensitive.Masked)
		rep.ErrorMessage = &reason
	}
	return rep
}

// postResponse is the response to POST.
type postResponse struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	// Joined: the run was under way before the request.
	Joined bool `json:"joined"`
	report
}

func newPostResponse(run *Run, joined bool, message string) postResponse {
	return postResponse{Success: run.Phase != PhaseFailed, Message: message, Joined: joined, report: newReport(run)}
}

// startMessage is the message to the request that has started the run.
func startMessage(run *Run) string {
	switch {
	case run.Phase == PhaseCompleted:
		return "Force sync completed successfully"
	case run.Phase == PhaseFailed:
		return "Force sync failed"
	case run.Delivery == client.Accepted:
		return "Force sync initiated"
	}
	return "Force sync in progress: OPAL has not answered yet"
}

// workflowSecurity is a part of the runbook's response to GET.
type workflowSecurity struct {
	AllowedWorkflow string `json:"allowed_workflow"`
	// AccountValidation: everything that Force Sync needs is configured and valid.
	AccountValidation bool   `json:"account_validation"`
	SecurityNote      string `json:"security_note"`
}

// getResponse is the response to GET.
type getResponse struct {
	Success          bool             `json:"success"`
	WorkflowSecurity workflowSecurity `json:"workflow_security"`
	Configuration    Report           `json:"configuration"`
	// Run is the current or last run. It is null if there was none, and for callers of
	// other workspaces.
	Run *report `json:"run"`
	// RunError says why the run cannot be shown.
	RunError string `json:"run_error,omitempty"`
}

func newGetResponse(r Report) getResponse {
	return getResponse{
		Success: true,
		WorkflowSecurity: workflowSecurity{
			AllowedWorkflow: WorkflowName, AccountValidation: r.Valid,
			SecurityNote: "ONLY " + WorkflowName + " is permitted",
		},
		Configuration: r,
	}
}

// configurationError is the runbook's response to a POST with an invalid configuration.
func configurationError(problems []string) *httperror.Error {
	return &httperror.Error{
		Status: http.StatusInternalServerError, Code: "Configuration Error", Message: "Environment validation failed",
		Members: map[string]any{"success": false, "details": problems},
	}
}

// notAccepted is the 502 of a trigger that OPAL did not accept. If there was no response the
// run goes on, because OPAL may have accepted the trigger: a repeated request joins it and
// does not trigger another one.
func notAccepted(run *Run, err error) *httperror.Error {
	p := &httperror.Error{
		Status: http.StatusBadGateway, Code: httperror.CodeUpstream, Err: err,
		Members: map[string]any{
			"success": false, "service_name": "OPAL Platform",
			"sync_id": run.SyncID, "correlation_id": run.CorrelationID,
			"status": run.Phase, "retry_attempts": max(0, run.Attempts-1),
		},
	}
	suggest := func(s ...string) { p.Members["retry_suggestions"] = s }
	switch run.Delivery {
	case client.Refused:
		p.Message = fmt.Sprintf("OPAL refused the trigger with status %d", run.OPALStatus)
		suggest("Check the auth key and the webhook URL with GET on this path", "Check the state of the OPAL platform, then send the request again")
	case client.Unreachable:
		p.Message = "OPAL cannot be reached"
		suggest("Check the webhook URL with GET on this path and the network to OPAL", "Send the request again")
	default:
		p.Message = "OPAL took the trigger and its answer was lost: whether the workflow runs is not known"
		suggest("Follow the run with GET on this path: it goes on if callbacks come", "Send the request with force_restart to start another run")
	}
	return p
}
