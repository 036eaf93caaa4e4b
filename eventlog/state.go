package eventlog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// Names of the collections that the projector keeps.
const (
	workflowCollection = "workflow_state"
	agentCollection    = "agent_state"
)

// maxAgentsPerWorkflow bounds one workflow's state, whatever a sender invents.
const maxAgentsPerWorkflow = 256

// WorkflowState is what the log says of one run of a workflow.
type WorkflowState struct {
	WorkspaceID         string                    `json:"workspace_id"`
	WorkflowID          string                    `json:"workflow_id"`
	WorkflowName        string                    `json:"workflow_name,omitempty"`
	CorrelationID       string                    `json:"correlation_id,omitempty"`
	Status              event.Status              `json:"status"`
	StartedAt           time.Time                 `json:"started_at"`
	UpdatedAt           time.Time                 `json:"updated_at"`
	CompletedAt         *time.Time                `json:"completed_at"`
	Agents              map[string]AgentExecution `json:"agents"`
	TotalAgents         *int64                    `json:"total_agents"`
	CurrentPhase        *int64                    `json:"current_phase"`
	EstimatedCompletion string                    `json:"estimated_completion,omitempty"`
	TotalExecutionMS    *float64                  `json:"total_execution_time_ms"`
	ErrorMessage        string                    `json:"error_message,omitempty"`
	Events              int64                     `json:"events"`
	LastSeq             uint64                    `json:"last_seq"`
}

// AgentExecution is one agent's part in a run.
type AgentExecution struct {
	AgentID         string       `json:"agent_id"`
	Status          event.Status `json:"status"`
	StartTime       *time.Time   `json:"start_time"`
	EndTime         *time.Time   `json:"end_time"`
	ExecutionTimeMS *float64     `json:"execution_time_ms"`
	ConfidenceScore *float64     `json:"confidence_score"`
	ErrorMessage    string       `json:"error_message,omitempty"`
}

// AgentState is what the log says of one agent over all runs.
type AgentState struct {
	WorkspaceID      string       `json:"workspace_id"`
	AgentID          string       `json:"agent_id"`
	Status           event.Status `json:"status"`
	LastWorkflowID   string       `json:"last_workflow_id"`
	LastExecution    time.Time    `json:"last_execution"`
	Completed        int64        `json:"completed"`
	Failed           int64        `json:"failed"`
	TotalExecutionMS float64      `json:"total_execution_time_ms"`
	TimedExecutions  int64        `json:"timed_executions"`
	LastSeq          uint64       `json:"last_seq"`
}

// Counts are how many of the run's agents completed and failed.
func (w *WorkflowState) Counts() (completed, failed int) {
	for _, a := range w.Agents {
		switch a.Status {
		case event.StatusCompleted:
			completed++
		case event.StatusFailed, event.StatusTimeout:
			failed++
		}
	}
	return completed, failed
}

// stateKey is the document key of a workflow or an agent. The workspace is
// length-prefixed so that no two pairs run together.
func stateKey(workspace, id string) string {
	return strconv.Itoa(len(workspace)) + ":" + workspace + id
}

// apply takes the next event of the run into account. An agent's or a run's
// final status is not undone by what was sent before it and arrives after it.
func (w *WorkflowState) apply(e *event.Event) {
	if e.Seq <= w.LastSeq {
		return
	}
	w.LastSeq = e.Seq
	w.Events++
	w.UpdatedAt = e.ReceivedAt
	if w.StartedAt.IsZero() {
		w.WorkspaceID, w.WorkflowID, w.StartedAt = e.WorkspaceID, e.WorkflowID, e.ReceivedAt
		w.Status = event.StatusRunning
	}
	w.WorkflowName = cmp.Or(e.WorkflowName, w.WorkflowName)
	w.CorrelationID = cmp.Or(w.CorrelationID, e.CorrelationID)
	d := &e.Details
	if d.TotalAgents != nil {
		w.TotalAgents = d.TotalAgents
	}
	if d.CurrentPhase != nil && (w.CurrentPhase == nil || *d.CurrentPhase > *w.CurrentPhase) {
		w.CurrentPhase = d.CurrentPhase
	}
	w.EstimatedCompletion = cmp.Or(d.EstimatedCompletion, w.EstimatedCompletion)

	switch e.Kind {
	case event.KindAgentStatus:
		w.applyAgent(e)
	case event.KindWorkflowCompletion:
		status := e.Status
		if !status.Terminal() {
			status = event.StatusCompleted
		}
		at := e.ReceivedAt
		w.Status, w.CompletedAt = status, &at
		if d.ExecutionTimeMS != nil {
			w.TotalExecutionMS = d.ExecutionTimeMS
		}
		w.ErrorMessage = cmp.Or(e.ErrorMessage, w.ErrorMessage)
	case event.KindError:
		w.ErrorMessage = cmp.Or(e.ErrorMessage, w.ErrorMessage)
	}
}

func (w *WorkflowState) applyAgent(e *event.Event) {
	if e.AgentID == "" {
		return
	}
	id := strings.ToLower(e.AgentID)
	a, known := w.Agents[id]
	if !known && len(w.Agents) >= maxAgentsPerWorkflow {
		return
	}
	if w.Agents == nil {
		w.Agents = make(map[string]AgentExecution)
	}
	status := agentStatus(e)
	if a.Status.Terminal() && !status.Terminal() {
		return
	}
	at := e.ReceivedAt
	a.AgentID, a.Status = e.AgentID, status
	if a.StartTime == nil && !status.Terminal() {
		a.StartTime = &at
	}
	if status.Terminal() {
		a.EndTime = &at
		a.ExecutionTimeMS = e.Details.ExecutionTimeMS
		a.ConfidenceScore = e.Details.ConfidenceScore
		a.ErrorMessage = e.ErrorMessage
	}
	w.Agents[id] = a
}

func agentStatus(e *event.Event) event.Status {
	return cmp.Or(e.Status, event.StatusRunning)
}

func (a *AgentState) apply(e *event.Event) {
	if e.Seq <= a.LastSeq {
		return
	}
	a.LastSeq = e.Seq
	a.WorkspaceID, a.AgentID = e.WorkspaceID, e.AgentID
	a.Status, a.LastWorkflowID, a.LastExecution = agentStatus(e), e.WorkflowID, e.ReceivedAt
	switch a.Status {
	case event.StatusCompleted:
		a.Completed++
	case event.StatusFailed, event.StatusTimeout:
		a.Failed++
	default:
		return
	}
	if ms := e.Details.ExecutionTimeMS; ms != nil {
		a.TotalExecutionMS += *ms
		a.TimedExecutions++
	}
}

// Workflow is the state of one run, or storage.ErrNotFound. Everything that was
// committed before the call is in it.
func (l *Log) Workflow(ctx context.Context, workspace, id string) (*WorkflowState, error) {
	return getState[WorkflowState](ctx, l, workflowCollection, stateKey(workspace, id))
}

// Agent is the state of one agent, or storage.ErrNotFound.
func (l *Log) Agent(ctx context.Context, workspace, id string) (*AgentState, error) {
	return getState[AgentState](ctx, l, agentCollection, stateKey(workspace, strings.ToLower(id)))
}

// Agents are the states of a workspace's agents, up to limit, by id.
func (l *Log) Agents(ctx context.Context, workspace string, limit int) ([]AgentState, error) {
	if err := l.WaitProjected(ctx, l.head.load()); err != nil {
		return nil, err
	}
	store, err := l.Store()
	if err != nil {
		return nil, err
	}
	entries, err := storage.NewCollection[AgentState](store, agentCollection).List(ctx, stateKey(workspace, ""), "", limit)
	if err != nil {
		return nil, unavailable(err)
	}
	states := make([]AgentState, len(entries))
	for i, e := range entries {
		states[i] = e.Value
	}
	slices.SortFunc(states, func(a, b AgentState) int { return cmp.Compare(a.AgentID, b.AgentID) })
	return states, nil
}

func getState[T any](ctx context.Context, l *Log, collection, key string) (*T, error) {
	if err := l.WaitProjected(ctx, l.head.load()); err != nil {
		return nil, err
	}
	store, err := l.Store()
	if err != nil {
		return nil, err
	}
	entry, err := storage.NewCollection[T](store, collection).Get(ctx, key)
	if err != nil {
		return nil, unavailable(err)
	}
	return &entry.Value, nil
}

// applier is a state that events are applied to.
type applier[T any] interface {
	*T
	apply(*event.Event)
}

// states holds the states that one projection touches, and those touched lately.
type states[T any, P applier[T]] struct {
	collection string
	recent     map[string]P
	touched    map[string]P
}

// recentStates bounds how many states stay in memory between projections.
const recentStates = 2048

func newStates[T any, P applier[T]](collection string) *states[T, P] {
	return &states[T, P]{collection: collection, recent: map[string]P{}, touched: map[string]P{}}
}

func (s *states[T, P]) apply(ctx context.Context, docs storage.Documents, key string, e *event.Event) error {
	state, ok := s.touched[key]
	if !ok {
		if state, ok = s.recent[key]; !ok {
			state = P(new(T))
			d, err := docs.GetDocument(ctx, s.collection, key)
			switch {
			case err == nil:
				if err := json.Unmarshal(d.Value, state); err != nil {
					return fmt.Errorf("decoding %s: %w", s.collection, err)
				}
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
		}
		s.touched[key] = state
	}
	state.apply(e)
	return nil
}

// documents encodes what was touched.
func (s *states[T, P]) documents(dst []storage.Document) ([]storage.Document, error) {
	for key, state := range s.touched {
		raw, err := json.Marshal(state)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", s.collection, err)
		}
		dst = append(dst, storage.Document{Collection: s.collection, Key: key, Value: raw})
	}
	return dst, nil
}

// keep ends a projection that was written.
func (s *states[T, P]) keep() {
	if len(s.recent)+len(s.touched) > recentStates {
		clear(s.recent)
	}
	for key, state := range s.touched {
		s.recent[key] = state
	}
	clear(s.touched)
	if len(s.recent) > recentStates {
		clear(s.recent)
	}
}

// drop forgets everything: a projection failed and the store is the truth.
func (s *states[T, P]) drop() {
	clear(s.recent)
	clear(s.touched)
}
