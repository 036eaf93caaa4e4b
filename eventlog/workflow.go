package eventlog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
	"github.com/osa-edge/osa-gateway/storage"
)

// workflows is the projection of workflow states.
type workflows struct{}

func (workflows) Name() string    { return "workflow_state" }
func (workflows) Version() int    { return 1 }
func (workflows) NewValue() Value { return new(WorkflowState) }

// Fold implements Projection. It ignores replays, because the original event
// was folded already.
func (workflows) Fold(r *Records, e *event.Event) error {
	if !changesWorkflow(e) {
		return nil
	}
	v, err := r.For(workflowKey(e.WorkspaceID, e.WorkflowID))
	if err != nil || v == nil {
		return err
	}
	v.(*WorkflowState).apply(e)
	return nil
}

// changesWorkflow reports whether the event changes the state of its workflow.
func changesWorkflow(e *event.Event) bool {
	return e.ReplayOf == 0 && (e.Source != event.SourceGateway || e.Kind != event.KindOther)
}

// Limits of a state: the number of agents, and of each text the length of its
// JSON form. A state is therefore always small enough to be written, whatever a
// sender sends.
const (
	maxAgents     = 256
	maxAgentID    = 384
	maxAgentError = 2 << 10
	maxText       = 2 << 10
	maxError      = 16 << 10
	maxStatus     = 64
)

// WorkflowState is the state of one run of a workflow.
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

// AgentExecution is the state of one agent in a run.
type AgentExecution struct {
	AgentID         string       `json:"agent_id"`
	Status          event.Status `json:"status"`
	StartTime       *time.Time   `json:"start_time"`
	EndTime         *time.Time   `json:"end_time"`
	ExecutionTimeMS *float64     `json:"execution_time_ms"`
	ConfidenceScore *float64     `json:"confidence_score"`
	ErrorMessage    string       `json:"error_message,omitempty"`
}

// Counts returns how many agents of the run completed and how many failed.
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

// maxPlainKey is the longest key that is stored as it is. A longer one is
// replaced by its digest.
const maxPlainKey = 1 << 10

// workflowKey returns the key of a workflow's record. The workspace is prefixed
// with its length, so that different pairs have different keys.
func workflowKey(workspace, id string) string {
	key := strconv.Itoa(len(workspace)) + ":" + workspace + id
	if len(key) > maxPlainKey {
		sum := sha256.Sum256([]byte(key))
		return "#" + hex.EncodeToString(sum[:])
	}
	return key
}

// AppendRecord implements Value.
func (w *WorkflowState) AppendRecord(dst []byte) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// ReadRecord implements Value.
func (w *WorkflowState) ReadRecord(b []byte) error { return strictjson.Unmarshal(b, w) }

// apply applies the next event of the run. A final status is not replaced by an
// event that was sent before it and arrives after it.
func (w *WorkflowState) apply(e *event.Event) {
	if e.Seq <= w.LastSeq {
		return
	}
	w.LastSeq = e.Seq
	w.Events++
	w.UpdatedAt = e.ReceivedAt
	if w.StartedAt.IsZero() {
		w.WorkspaceID, w.WorkflowID, w.StartedAt = clip(e.WorkspaceID, maxText), clip(e.WorkflowID, maxText), e.ReceivedAt
		w.Status = event.StatusRunning
	}
	w.WorkflowName = cmp.Or(clip(e.WorkflowName, maxText), w.WorkflowName)
	w.CorrelationID = cmp.Or(w.CorrelationID, clip(e.CorrelationID, maxText))
	d := &e.Details
	if d.TotalAgents != nil {
		w.TotalAgents = d.TotalAgents
	}
	if d.CurrentPhase != nil && (w.CurrentPhase == nil || *d.CurrentPhase > *w.CurrentPhase) {
		w.CurrentPhase = d.CurrentPhase
	}
	w.EstimatedCompletion = cmp.Or(clip(d.EstimatedCompletion, maxText), w.EstimatedCompletion)

	switch e.Kind {
	case event.KindAgentStatus:
		w.applyAgent(e)
	case event.KindWorkflowCompletion:
		status := e.Status // A final status is one of three words.
		if !status.Terminal() {
			status = event.StatusCompleted
		}
		at := e.ReceivedAt
		w.Status, w.CompletedAt = status, &at
		if d.ExecutionTimeMS != nil {
			w.TotalExecutionMS = d.ExecutionTimeMS
		}
		w.ErrorMessage = cmp.Or(clip(e.ErrorMessage, maxError), w.ErrorMessage)
	case event.KindError:
		w.ErrorMessage = cmp.Or(clip(e.ErrorMessage, maxError), w.ErrorMessage)
	}
}

func (w *WorkflowState) applyAgent(e *event.Event) {
	if e.AgentID == "" {
		return
	}
	id := clip(strings.ToLower(e.AgentID), maxAgentID)
	a, known := w.Agents[id]
	if !known && len(w.Agents) >= maxAgents {
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
	a.AgentID, a.Status = clip(e.AgentID, maxAgentID), status
	if a.StartTime == nil && !status.Terminal() {
		a.StartTime = &at
	}
	if status.Terminal() {
		a.EndTime = &at
		a.ExecutionTimeMS = e.Details.ExecutionTimeMS
		a.ConfidenceScore = e.Details.ConfidenceScore
		a.ErrorMessage = clip(e.ErrorMessage, maxAgentError)
	}
	w.Agents[id] = a
}

func agentStatus(e *event.Event) event.Status {
	return cmp.Or(event.Status(clip(string(e.Status), maxStatus)), event.StatusRunning)
}

// knownLookback is how many events of a workflow are checked for one that
// changes its state.
const knownLookback = 64

// Workflow returns the state of one run, or storage.ErrNotFound. It includes
// everything that was committed before the call. While states are being rebuilt
// it returns a storage.RebuildError.
func (l *Log) Workflow(ctx context.Context, workspace, id string) (*WorkflowState, error) {
	key, state := workflowKey(workspace, id), new(WorkflowState)
	head := l.Head()
	err := l.workflows.get(ctx, key, state)
	if err == nil {
		return state, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	// A missing state may have been lost. Reporting it as not found would end a
	// run that goes on, so the log is checked as well.
	page, qerr := l.Query(ctx, storage.Query{
		Filter: event.Filter{WorkspaceID: workspace, WorkflowIDs: []string{id}}, Ascending: true, Limit: knownLookback,
	})
	if qerr != nil {
		return nil, qerr
	}
	for _, e := range page.Events {
		if e.Seq <= head && changesWorkflow(e) && l.workflows.reportMissing(key) {
			return nil, l.workflows.lagError(0, head)
		}
	}
	return nil, err
}

// clip shortens a text to at most limit bytes in JSON, without cutting a
// character.
func clip(s string, limit int) string {
	if len(s)*6 <= limit { // No character takes more than six bytes.
		return s
	}
	size := 0
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			size += 2
		case r < ' ' || r == utf8.RuneError || r == '\u2028' || r == '\u2029' || r == 0x7f:
			size += 6
		default:
			size += utf8.RuneLen(r)
		}
		if size > limit {
			return strings.Clone(s[:i])
		}
	}
	return s
}

// Interface guards
var (
	_ Projection = workflows{}
	_ Value      = (*WorkflowState)(nil)
)
