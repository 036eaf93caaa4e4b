package sync

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

// Phase is the status of a run.
type Phase string

// The phases.
const (
	PhaseInitiated  Phase = "initiated"
	PhaseInProgress Phase = "in_progress"
	PhaseCompleted  Phase = "completed"
	PhaseFailed     Phase = "failed"
)

// startGrace is how long the start of a run may be missing from the log. After that, the
// gateway has stopped before it logged the start.
const startGrace = time.Minute

// Run is a run of Force Sync. It is stored as a document, so that it survives a restart. A
// workspace has one run at a time, and the last one is kept.
type Run struct {
	SyncID        string    `json:"sync_id"`
	CorrelationID string    `json:"correlation_id"`
	WorkspaceID   string    `json:"workspace_id"`
	Phase         Phase     `json:"status"`
	StartedAt     time.Time `json:"started_at"`
	// Deadline ends a run whose end OPAL does not report, so that requests do not join
	// it for ever.
	Deadline    time.Time  `json:"deadline"`
	CompletedAt *time.Time `json:"completed_at"`
	// Head is the head of the log when the run began. Its events come after it.
	Head uint64 `json:"head"`
	// Delivery, OPALStatus and Attempts are the result of the call to OPAL.
	Delivery   client.Delivery `json:"delivery"`
	OPALStatus int             `json:"opal_status,omitempty"`
	Attempts   int             `json:"attempts"`
	// Alias is OPAL's id of the workflow, if it is not SyncID.
	Alias string `json:"alias,omitempty"`
	// Scheduled are the agents that run.
	Scheduled []string `json:"scheduled"`
	// Agents is each agent's status, by id in lower case.
	Agents map[string]AgentStatus `json:"agents,omitempty"`
	// Reason is why the run failed.
	Reason string `json:"reason,omitempty"`
	// StartedBy is the id of the principal that asked for it.
	StartedBy string `json:"started_by,omitempty"`
}

// AgentStatus is the status of an agent in a run.
type AgentStatus struct {
	Status          event.Status `json:"status"`
	ExecutionTimeMS *float64     `json:"execution_time_ms"`
}

// Active reports whether the run has not ended.
func (r Run) Active() bool { return r.Phase == PhaseInitiated || r.Phase == PhaseInProgress }

// WorkflowID returns the id that OPAL has for the workflow.
func (r *Run) WorkflowID() string { return cmp.Or(r.Alias, r.SyncID) }

// end ends the run.
func (r *Run) end(phase Phase, at time.Time, reason string) {
	at = at.UTC()
	r.Phase, r.CompletedAt, r.Reason = phase, &at, reason
}

// observe returns the run, updated from the log. own and alias are the states of its two
// workflow ids; either may be nil. A run that has ended does not change. The result shares
// no map with r.
func (r Run) observe(own, alias *eventlog.WorkflowState, now time.Time) Run {
	if !r.Active() {
		return r
	}
	r.Agents = maps.Clone(r.Agents)
	for _, w := range []*eventlog.WorkflowState{own, alias} {
		if w == nil {
			continue
		}
		for id, a := range w.Agents {
			if r.Agents == nil {
				r.Agents = make(map[string]AgentStatus)
			}
			r.Agents[id] = AgentStatus{Status: a.Status, ExecutionTimeMS: a.ExecutionTimeMS}
		}
	}
	for _, w := range []*eventlog.WorkflowState{alias, own} {
		if w == nil || !w.Status.Terminal() {
			continue
		}
		at := now
		if w.CompletedAt != nil {
			at = *w.CompletedAt
		}
		if w.Status == event.StatusCompleted {
			r.end(PhaseCompleted, at, "")
		} else {
			r.end(PhaseFailed, at, cmp.Or(w.ErrorMessage, "the workflow ended as "+string(w.Status)))
		}
		return r
	}
	switch {
	case !now.Before(r.Deadline):
		r.end(PhaseFailed, r.Deadline, "nothing was heard of the workflow's end in time")
	case own == nil && r.Delivery == client.Pending && now.Sub(r.StartedAt) > startGrace:
		r.end(PhaseFailed, r.StartedAt, "the gateway stopped before OPAL was called")
	case len(r.Agents) > 0:
		r.Phase = PhaseInProgress
	}
	return r
}

// agents returns the ids of the run's agents of which want holds, sorted.
func (r *Run) agents(want func(event.Status) bool) []string {
	ids := []string{}
	for id, a := range r.Agents {
		if want(a.Status) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (r *Run) completed() []string {
	return r.agents(func(s event.Status) bool { return s == event.StatusCompleted })
}

func (r *Run) failed() []string {
	return r.agents(func(s event.Status) bool { return s == event.StatusFailed || s == event.StatusTimeout })
}

// unfinished returns the agents that were scheduled and did not complete.
func (r *Run) unfinished() []string {
	ids := []string{}
	completed := r.completed()
	for _, id := range r.Scheduled {
		if !containsFold(completed, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range r.failed() {
		if !containsFold(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// intersect returns the elements of list that are in filter. An empty filter keeps all.
func intersect(list, filter []string) []string {
	if len(filter) == 0 {
		return list
	}
	kept := []string{}
	for _, s := range list {
		if containsFold(filter, s) {
			kept = append(kept, strings.Clone(s))
		}
	}
	return kept
}
