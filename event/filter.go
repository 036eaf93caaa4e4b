package event

import (
	"strings"
	"time"
)

// Field is what a term speaks of.
type Field byte

// The fields that events are indexed by.
const (
	// FieldWebhook has one value, "": the event is a webhook (see IsWebhook).
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

// Term is one field's value: the unit that stores index events by and that the
// hub indexes subscriptions by. An event has at most one value a field.
type Term struct {
	Field Field
	Value string
}

// AppendTerms appends the terms of the event. Two events match the same filters,
// dates aside, exactly if their terms and workspaces are the same.
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

// Filter selects events. An empty field selects all; several values of one field
// mean any of them; all fields must hold.
type Filter struct {
	// WorkspaceID restricts to one workspace; "" is all of them, which only a
	// principal with workspace:* may ask for.
	WorkspaceID string
	WorkflowIDs []string
	// WorkflowNames are names such as strategy_workflow.
	WorkflowNames []string
	// AgentIDs compare without case.
	AgentIDs []string
	// Types match the raw type, the kind or the stream name.
	Types    []string
	Statuses []Status
	Sources  []string
	// MinPriority is 0 for all.
	MinPriority Priority
	// WebhooksOnly leaves out what the gateway made and replays.
	WebhooksOnly bool
	// Since and Until bound ReceivedAt, both inclusive; zero means unbounded.
	Since, Until time.Time
}

// Clauses is the filter without workspace and dates in conjunctive form: every
// clause must hold, and a clause holds if the event has any of its terms.
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

// Matches reports whether the filter selects the event. It is the definition
// that every index must agree with.
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
