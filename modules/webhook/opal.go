package webhook

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/jsontoken"
)

func init() { caddy.RegisterModule(new(OPAL)) }

// DefaultWorkflowNames are the names that OPAL's workflow ids begin with.
var DefaultWorkflowNames = []string{"strategy_workflow"}

// OPAL is the mapping of the OPAL platform's webhooks. It reads both of the documented
// forms: the API guide's ("Webhook Event Processing"), whose details are nested in
// `data`, and the runbook's, whose details stand beside the ids.
type OPAL struct {
	// StrictTypes refuses event types that the mapping does not know with 400.
	// Otherwise they are stored and streamed as they came.
	StrictTypes bool `json:"strict_types,omitempty"`
	// WorkflowNames are the names that workflow ids begin with. They are used for events
	// without a workflow_name; default strategy_workflow.
	WorkflowNames []string `json:"workflow_names,omitempty"`

	names []string // longest first
}

// CaddyModule returns the Caddy module information.
func (*OPAL) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.mapping.opal", New: func() caddy.Module { return new(OPAL) }}
}

// Provision sets the default.
func (o *OPAL) Provision(caddy.Context) error {
	if o.names = slices.Clone(o.WorkflowNames); len(o.names) == 0 {
		o.names = slices.Clone(DefaultWorkflowNames)
	}
	slices.SortStableFunc(o.names, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return nil
}

// Validate checks the names.
func (o *OPAL) Validate() error {
	if slices.Contains(o.WorkflowNames, "") {
		return errors.New("workflow_names must not be empty: every id begins with the empty name")
	}
	return nil
}

// UnmarshalCaddyfile sets up the mapping from Caddyfile tokens. Syntax:
//
//	opal {
//	    strict_types
//	    workflow_names <name...>
//	}
func (o *OPAL) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // mapping name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		name, args := d.Val(), d.RemainingArgs()
		switch name {
		case "strict_types":
			if len(args) != 0 {
				return d.ArgErr()
			}
			if o.StrictTypes {
				return d.Err("strict_types was already given")
			}
			o.StrictTypes = true
		case "workflow_names":
			if len(args) == 0 {
				return d.ArgErr()
			}
			if o.WorkflowNames != nil {
				return d.Err("workflow_names was already given")
			}
			o.WorkflowNames = args
		default:
			return d.Errf("unknown option %q of osa_webhook with the mapping opal: want mapping, duplicate_status, strict_types or workflow_names", name)
		}
	}
	return nil
}

// Map implements Mapping. Fields that identify an event must be valid. Of the details,
// invalid ones are left out (see opalFields.setDetails).
func (o *OPAL) Map(body []byte, e *event.Event) []Invalid {
	var root opalFields
	root.read(strings.TrimLeft(jsontoken.View(body), " \t\r\n")) // no token is kept after the mapping
	if root[fieldEventType] == "" {
		root[fieldEventType] = root[fieldType] // `type` is read as `event_type`
	}
	var bad invalidFields
	bad.identifier("workflow_id", root[fieldWorkflowID], &e.WorkflowID)
	bad.identifier("event_type", cmp.Or(notNull(root[fieldEventType]), root[fieldType]), &e.Type)
	bad.identifier("agent_id", root[fieldAgentID], &e.AgentID)
	bad.identifier("workflow_name", root[fieldWorkflowName], &e.WorkflowName)
	bad.identifier("correlation_id", root[fieldCorrelationID], &e.CorrelationID)
	bad.timestamp(root[fieldTimestamp], &e.Details.Timestamp)
	var execution string
	bad.identifier("execution_status", root[fieldExecutionStatus], &execution)
	if e.WorkflowID == "" {
		bad.add("workflow_id", "is required")
	}
	o.classify(e, execution, &bad)
	if len(bad) > 0 {
		return bad
	}

	if e.WorkflowName == "" {
		e.WorkflowName = o.nameOf(e.WorkflowID)
	}
	e.DedupKey = event.OPALDedupKey(
		root[fieldWorkflowID], root[fieldAgentID], root[fieldTimestamp], root[fieldEventType], e.BodyDigest)
	o.setDetails(e, &root, execution)
	return nil
}

// classify sets the kind. Any type is accepted. An event without a type must have an
// execution_status.
func (o *OPAL) classify(e *event.Event, execution string, bad *invalidFields) {
	if e.Type != "" {
		kind, known := event.KindOf(e.Type)
		if !known && o.StrictTypes {
			bad.add("event_type", "is not a known event type")
		}
		e.Kind = kind
		return
	}
	e.Kind = event.KindAgentStatus
	switch {
	case execution == "" && !bad.has("execution_status"):
		bad.add("event_type", "is required, unless execution_status is given")
	case execution != "" && event.NormalizeStatus(execution) == "":
		bad.add("execution_status", "must be success, failure, pending or timeout")
	}
}

// setDetails reads the fields that do not identify the event. If a field is given at
// several levels, the innermost one counts.
func (o *OPAL) setDetails(e *event.Event, root *opalFields, execution string) {
	p := detailReader{details: &e.Details}
	p.readObject(root)
	p.readNested(root)
	var data opalFields
	if data.readNested(root, fieldData) {
		p.readObject(&data)
		p.readNested(&data)
	}
	e.Severity = strings.ToLower(text(p.severity, maxDetail))
	e.ErrorMessage = cmp.Or(message(p.notified), message(p.errorDetails), message(p.errorMessage), message(p.err))
	e.Status = cmp.Or(
		event.NormalizeStatus(e.Details.CurrentStatus),
		event.NormalizeStatus(text(p.completion, maxDetail)),
		event.NormalizeStatus(execution),
		event.NormalizeStatus(text(p.status, maxDetail)),
		impliedStatus(e.Type),
	)
}

// detailReader reads details from the levels of one body, outermost first.
type detailReader struct {
	details *event.Details

	severity, status, completion string
	// The fields that may hold an error text, the most specific one first.
	notified, errorDetails, errorMessage, err string
}

// readObject reads the fields that may stand at any level.
func (p *detailReader) readObject(m *opalFields) {
	m.setDetails(p.details)
	replace(&p.severity, cmp.Or(notNull(m[fieldSeverity]), m[fieldPriority]))
	replace(&p.status, m[fieldStatus])
	replace(&p.errorDetails, m[fieldErrorDetails])
	replace(&p.errorMessage, m[fieldErrorMessage])
	replace(&p.err, m[fieldError])
}

// readNested reads the four objects in which the API guide nests the details.
func (p *detailReader) readNested(of *opalFields) {
	var m opalFields
	if m.readNested(of, fieldAgentStatus) {
		m.setDetails(p.details)
		replace(&p.errorDetails, m[fieldErrorDetails])
	}
	if m.readNested(of, fieldWorkflowProgress) {
		m.setDetails(p.details)
	}
	if m.readNested(of, fieldWorkflowCompletion) {
		m.setDetails(p.details)
		replace(&p.completion, m[fieldStatus])
	}
	if m.readNested(of, fieldErrorNotification) {
		m.setDetails(p.details)
		replace(&p.notified, m[fieldErrorMessage])
		replace(&p.severity, m[fieldSeverity])
	}
}

// replace sets dst to a token, unless it is absent.
func replace(dst *string, raw string) {
	if present(raw) {
		*dst = raw
	}
}

// impliedStatus is the status of an event that has no status, by its type.
func impliedStatus(eventType string) event.Status {
	switch eventType {
	case "started", "workflow_started", "workflow_progress":
		return event.StatusRunning
	case "agent_completed", "completed", "workflow_completion":
		return event.StatusCompleted
	case "failed":
		return event.StatusFailed
	}
	return ""
}

// nameOf returns the longest known name that the workflow's id begins with, or "".
func (o *OPAL) nameOf(workflowID string) string {
	for _, name := range o.names {
		if strings.HasPrefix(workflowID, name) {
			return name
		}
	}
	return ""
}

func notNull(raw string) string {
	if raw == null {
		return ""
	}
	return raw
}

// invalidFields collects the invalid fields of a body, each once.
type invalidFields []Invalid

func (p *invalidFields) add(field, message string) {
	if !p.has(field) {
		*p = append(*p, Invalid{Field: field, Message: message})
	}
}

func (p *invalidFields) has(field string) bool {
	return slices.ContainsFunc(*p, func(i Invalid) bool { return i.Field == field })
}

// identifier reads a field that must be an identifier if it is present.
func (p *invalidFields) identifier(field, raw string, dst *string) {
	if !present(raw) {
		return
	}
	s, problem := identifier(raw)
	if problem != "" {
		p.add(field, problem)
		return
	}
	*dst = s
}

// timestamp reads a string or a number, as it was sent.
func (p *invalidFields) timestamp(raw string, dst *string) {
	switch {
	case !present(raw):
	case raw[0] == '"':
		p.identifier("timestamp", raw, dst)
	case raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'):
		p.add("timestamp", "must be a string or a number")
	case len(raw) > maxIdentifier:
		p.add("timestamp", "must not have more than 256 characters")
	default:
		*dst = strings.Clone(raw)
	}
}
