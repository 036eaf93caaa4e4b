package webhook

import (
	"cmp"
	"slices"
	"strings"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/jsontoken"
)

// DefaultWorkflowNames are the names that OPAL's workflow ids begin with.
var DefaultWorkflowNames = []string{"strategy_workflow"}

// opal reads the webhooks of the OPAL platform: those of the API guide
// ("Webhook Event Processing"), whose particulars are nested under data, and
// those of the runbook, whose particulars stand beside the ids.
type opal struct {
	strict bool
	names  []string // longest first
}

func newOPAL(o MappingOptions) *opal {
	names := slices.Clone(o.WorkflowNames)
	if len(names) == 0 {
		names = slices.Clone(DefaultWorkflowNames)
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return &opal{strict: o.StrictTypes, names: names}
}

// Map implements Mapping. Strict are the members that identify an event; of the
// particulars, what cannot be read is left out (see members.details).
func (o *opal) Map(body []byte, e *event.Event) []Invalid {
	var root members
	root.read(strings.TrimLeft(jsontoken.View(body), " \t\r\n")) // nothing of it outlives the mapping
	if root[mEventType] == "" {
		root[mEventType] = root[mType] // `type` is read as `event_type`
	}
	var bad problems
	bad.identifier("workflow_id", root[mWorkflowID], &e.WorkflowID)
	bad.identifier("event_type", cmp.Or(notNull(root[mEventType]), root[mType]), &e.Type)
	bad.identifier("agent_id", root[mAgentID], &e.AgentID)
	bad.identifier("workflow_name", root[mWorkflowName], &e.WorkflowName)
	bad.identifier("correlation_id", root[mCorrelationID], &e.CorrelationID)
	bad.timestamp(root[mTimestamp], &e.Details.Timestamp)
	var execution string
	bad.identifier("execution_status", root[mExecutionStatus], &execution)
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
		root[mWorkflowID], root[mAgentID], root[mTimestamp], root[mEventType], e.BodyDigest)
	o.particulars(e, &root, execution)
	return nil
}

// classify decides the kind. A type may be any; without one, the event must say
// how an agent's execution stands.
func (o *opal) classify(e *event.Event, execution string, bad *problems) {
	if e.Type != "" {
		kind, known := event.KindOf(e.Type)
		if !known && o.strict {
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

// particulars reads everything that does not decide what the event is. Where a
// member is given at several levels the innermost one counts.
func (o *opal) particulars(e *event.Event, root *members, execution string) {
	p := particulars{details: &e.Details}
	p.object(root)
	p.parts(root)
	var data members
	if data.inner(root, mData) {
		p.object(&data)
		p.parts(&data)
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

// particulars gathers raw tokens from the levels of one body, outermost first.
type particulars struct {
	details *event.Details

	severity, status, completion string
	// Where an error text may stand, the most telling place first.
	notified, errorDetails, errorMessage, err string
}

// object takes what may stand at any level.
func (p *particulars) object(m *members) {
	m.details(p.details)
	take(&p.severity, cmp.Or(notNull(m[mSeverity]), m[mPriority]))
	take(&p.status, m[mStatus])
	take(&p.errorDetails, m[mErrorDetails])
	take(&p.errorMessage, m[mErrorMessage])
	take(&p.err, m[mError])
}

// parts takes the four objects in which the API guide nests the particulars.
func (p *particulars) parts(of *members) {
	var m members
	if m.inner(of, mAgentStatus) {
		m.details(p.details)
		take(&p.errorDetails, m[mErrorDetails])
	}
	if m.inner(of, mWorkflowProgress) {
		m.details(p.details)
	}
	if m.inner(of, mWorkflowCompletion) {
		m.details(p.details)
		take(&p.completion, m[mStatus])
	}
	if m.inner(of, mErrorNotification) {
		m.details(p.details)
		take(&p.notified, m[mErrorMessage])
		take(&p.severity, m[mSeverity])
	}
}

func take(dst *string, raw string) {
	if present(raw) {
		*dst = raw
	}
}

// impliedStatus is what a type says where nothing else does.
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

// nameOf is the longest known name that the workflow's id begins with.
func (o *opal) nameOf(workflowID string) string {
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

// problems gathers what is wrong with a body, one problem a field.
type problems []Invalid

func (p *problems) add(field, message string) {
	if !p.has(field) {
		*p = append(*p, Invalid{field, message})
	}
}

func (p *problems) has(field string) bool {
	return slices.ContainsFunc(*p, func(i Invalid) bool { return i.Field == field })
}

// identifier reads a member that, where it is present, must be one.
func (p *problems) identifier(field, raw string, dst *string) {
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

// timestamp takes a string or a number as it was sent.
func (p *problems) timestamp(raw string, dst *string) {
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
