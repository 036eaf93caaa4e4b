package event

import (
	"strings"
	"time"
)

// Field is a field that events are indexed by.
type Field byte

// The fields that events are indexed by.
const (
	// FieldWebhook has the single value "": the event is a webhook (see
	// IsWebhook).
	FieldWebhook      Field = 'a'
	FieldAgent        Field = 'g'
	FieldKind         Field = 'k'
	FieldWorkflowName Field = 'n'
	FieldSource       Field = 'o'
	FieldPriority     Field = 'p'
	FieldStatus       Field = 's'
	FieldType         Field = 't'
	FieldWorkflow     Field = 'w'
)

// Term is a value of a field. Stores index events by terms, and the hub indexes
// subscriptions by them. An event has at most one value per field.
type Term struct {
	Field Field
	Value string
}

// AppendTerms appends the terms of the event. Events with the same terms and
// workspace match the same filters, except for dates.
func (e *Event) AppendTerms(dst []Term) []Term {
	if e.IsWebhook() {
		dst = append(dst, Term{FieldWebhook, ""})
	}
	dst = append(dst,
		Term{FieldWorkflow, e.WorkflowID},
		Term{FieldKind, string(e.Kind)},
		Term{FieldSource, e.Source},
		Term{FieldPriority, e.Priority().String()},
	)
	if e.WorkflowName != "" {
		dst = append(dst, Term{FieldWorkflowName, e.WorkflowName})
	}
	if e.AgentID != "" {
		dst = append(dst, Term{FieldAgent, strings.ToLower(e.AgentID)})
	}
	if e.Type != "" {
		dst = append(dst, Term{FieldType, e.Type})
	}
	if e.Status != "" {
		dst = append(dst, Term{FieldStatus, string(e.Status)})
	}
	return dst
}

// Filter selects events. An empty field selects all events. Several values of a
// field select events with any of them. All fields must match.
type Filter struct {
	// WorkspaceID selects one workspace. "" selects all, which requires a
	// principal with workspace:*.
	WorkspaceID string
	WorkflowIDs []string
	// WorkflowNames are names such as strategy_workflow.
	WorkflowNames []string
	// AgentIDs are compared without case.
	AgentIDs []string
	// Types are compared with the type as sent, the kind and the stream name.
	Types    []string
	Statuses []Status
	Sources  []string
	// MinPriority 0 selects all priorities.
	MinPriority Priority
	// WebhooksOnly excludes events of the gateway and replays.
	WebhooksOnly bool
	// Since and Until bound ReceivedAt, including both. A zero time is no bound.
	Since, Until time.Time
}

// Clauses returns the filter without workspace and dates in conjunctive normal
// form: an event must match every clause, and it matches a clause if it has any
// of its terms.
func (f *Filter) Clauses() [][]Term {
	var out [][]Term
	add := func(field Field, values []string) {
		if len(values) == 0 {
			return
		}
		clause := make([]Term, 0, len(values))
		for _, v := range values {
			clause = append(clause, Term{field, v})
		}
		out = append(out, clause)
	}
	add(FieldWorkflow, f.WorkflowIDs)
	if len(f.AgentIDs) > 0 {
		clause := make([]Term, 0, len(f.AgentIDs))
		for _, a := range f.AgentIDs {
			clause = append(clause, Term{FieldAgent, strings.ToLower(a)})
		}
		out = append(out, clause)
	}
	if len(f.Types) > 0 {
		var clause []Term
		for _, t := range f.Types {
			clause = append(clause, Term{FieldType, t}, Term{FieldKind, t})
			for _, k := range kindsOfStreamName(t) {
				clause = append(clause, Term{FieldKind, string(k)})
			}
		}
		out = append(out, clause)
	}
	if len(f.Statuses) > 0 {
		clause := make([]Term, 0, len(f.Statuses))
		for _, s := range f.Statuses {
			clause = append(clause, Term{FieldStatus, string(s)})
		}
		out = append(out, clause)
	}
	add(FieldWorkflowName, f.WorkflowNames)
	add(FieldSource, f.Sources)
	if f.MinPriority > PriorityLow {
		var clause []Term
		for p := f.MinPriority; p <= PriorityCritical; p++ {
			clause = append(clause, Term{FieldPriority, p.String()})
		}
		out = append(out, clause)
	}
	if f.WebhooksOnly {
		out = append(out, []Term{{FieldWebhook, ""}})
	}
	return out
}

// Matches reports whether the filter selects the event. Every index must agree
// with it.
func (f *Filter) Matches(e *Event) bool {
	if f.WorkspaceID != "" && f.WorkspaceID != e.WorkspaceID {
		return false
	}
	if !f.Since.IsZero() && e.ReceivedAt.Before(f.Since) {
		return false
	}
	if !f.Until.IsZero() && e.ReceivedAt.After(f.Until) {
		return false
	}
	var buf [9]Term
	terms := e.AppendTerms(buf[:0])
	for _, clause := range f.Clauses() {
		if !anyOf(clause, terms) {
			return false
		}
	}
	return true
}

func anyOf(clause, terms []Term) bool {
	for _, c := range clause {
		for _, t := range terms {
			if c == t {
				return true
			}
		}
	}
	return false
}
