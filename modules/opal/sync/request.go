package sync

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

// Limits of a request's fields.
const (
	maxAgents = 256
	// secondsPerDay is the longest run in seconds. A larger timeout_override is read as
	// milliseconds.
	secondsPerDay = 24 * 60 * 60
)

// ErrOtherWorkflow means that a request names another workflow than WorkflowName.
var ErrOtherWorkflow = errors.New("only " + WorkflowName + " is permitted")

// Request is the body of a Force Sync: every field of both documents, each of
// them optional, null being the same as absent (docs/api.md §2.8).
//
//	sync_scope         text, sent on to OPAL
//	client_context     object, sent on to OPAL
//	metadata           object, sent on to OPAL
//	workflow_name      strategy_workflow, or 403
//	force_restart      ends a run that is under way and starts another; in metadata to OPAL
//	agent_filter       only these agents; in metadata to OPAL. An empty list selects all
//	retry_failed_only  only the agents that did not complete in the run before: they
//	                   become the agent_filter. With none of them nothing is started.
//	                   In metadata to OPAL
//	timeout_override   ends the run after so long instead of run_timeout; in metadata
//	                   to OPAL. Seconds, as agent_timeout_seconds; more than a day's
//	                   worth is read as milliseconds, which JavaScript's timers count in
//
// Any other field is kept and sent on in metadata under its own name.
type Request struct {
	SyncScope       string
	ClientContext   map[string]json.RawMessage
	Metadata        map[string]json.RawMessage
	ForceRestart    bool
	AgentFilter     []string
	RetryFailedOnly bool
	Timeout         time.Duration
}

// ParseRequest parses a body. An empty body is a request without fields. It returns all
// invalid fields. ErrOtherWorkflow is returned for a body that is valid otherwise.
func ParseRequest(body []byte) (*Request, []httperror.Invalid, error) {
	req := &Request{ClientContext: map[string]json.RawMessage{}, Metadata: map[string]json.RawMessage{}}
	if len(bytes.TrimSpace(body)) == 0 {
		return req, nil, nil
	}
	var fields map[string]json.RawMessage
	err := strictjson.Unmarshal(body, &fields)
	if e, ok := errors.AsType[*strictjson.Error](err); ok && e.Reason == strictjson.Repeated {
		return nil, []httperror.Invalid{{Field: e.Path, Message: string(e.Reason)}}, nil
	}
	if err != nil || fields == nil {
		return nil, []httperror.Invalid{{Field: "body", Message: "must be a JSON object"}}, nil //nolint:nilerr // said in words
	}
	p := requestParser{fields: fields}
	var name string
	p.take("workflow_name", "text", &name)
	p.take("sync_scope", "text", &req.SyncScope)
	p.take("client_context", "an object", &req.ClientContext)
	p.take("metadata", "an object", &req.Metadata)
	p.take("force_restart", "true or false", &req.ForceRestart)
	p.take("retry_failed_only", "true or false", &req.RetryFailedOnly)
	p.take("agent_filter", "a list of agent ids", &req.AgentFilter)
	p.agents(req)
	p.timeout(req)
	p.rest(req)
	if len(p.invalid) > 0 {
		slices.SortFunc(p.invalid, func(a, b httperror.Invalid) int { return strings.Compare(a.Field, b.Field) })
		return nil, p.invalid, nil
	}
	if name != "" && name != WorkflowName {
		return nil, nil, ErrOtherWorkflow
	}
	return req, nil, nil
}

type requestParser struct {
	fields  map[string]json.RawMessage
	invalid []httperror.Invalid
}

func (p *requestParser) refuse(field, format string, args ...any) {
	p.invalid = append(p.invalid, httperror.Invalid{Field: field, Message: fmt.Sprintf(format, args...)})
}

// take reads a field into dst and removes it. It reports whether the field was there; null
// is the same as absent.
func (p *requestParser) take(field, want string, dst any) bool {
	raw, ok := p.fields[field]
	delete(p.fields, field)
	if !ok || isNull(raw) {
		return false
	}
	if err := strictjson.Unmarshal(raw, dst); err != nil {
		p.refuse(field, "must be %s", want)
		return false
	}
	return true
}

func (p *requestParser) agents(req *Request) {
	if len(req.AgentFilter) > maxAgents {
		p.refuse("agent_filter", "must name at most %d agents", maxAgents)
		return
	}
	for i, id := range req.AgentFilter {
		if !client.IsID(id) {
			p.refuse(fmt.Sprintf("agent_filter[%d]", i), "must be 1 to %d characters without control characters", client.MaxIDLength)
		}
	}
	// Agent ids compare without case (docs/api.md §6).
	var unique []string
	for _, id := range req.AgentFilter {
		if !containsFold(unique, id) {
			unique = append(unique, id)
		}
	}
	req.AgentFilter = unique
}

func (p *requestParser) timeout(req *Request) {
	var n float64
	if !p.take("timeout_override", "a number of seconds", &n) {
		return
	}
	seconds := n
	if seconds > secondsPerDay {
		seconds /= 1000
	}
	if seconds < 1 || seconds > secondsPerDay {
		p.refuse("timeout_override", "must be from 1 second to a day: 1 to %d seconds, or above that milliseconds", secondsPerDay)
		return
	}
	req.Timeout = time.Duration(seconds * float64(time.Second))
	p.forward(req, "timeout_override", n)
}

// rest puts unknown fields into the metadata, and the known ones that are for OPAL.
func (p *requestParser) rest(req *Request) {
	for field, raw := range p.fields {
		if !isNull(raw) {
			p.forward(req, field, raw)
		}
	}
	if req.ForceRestart {
		p.forward(req, "force_restart", true)
	}
	if req.RetryFailedOnly {
		p.forward(req, "retry_failed_only", true)
	}
	if len(req.AgentFilter) > 0 {
		p.forward(req, "agent_filter", req.AgentFilter)
	}
}

// forward puts a field into the metadata. A field that is already there is refused.
func (p *requestParser) forward(req *Request, field string, value any) {
	if _, taken := req.Metadata[field]; taken {
		p.refuse(field, "stands in metadata too; give it once")
		return
	}
	req.Metadata = with(req.Metadata, field, value)
}

// with sets a member of an object, which may be nil. The value can always be encoded.
func with(object map[string]json.RawMessage, name string, value any) map[string]json.RawMessage {
	if object == nil {
		object = make(map[string]json.RawMessage)
	}
	raw, _ := json.Marshal(value)
	object[name] = raw
	return object
}

// limitedTo returns the request for these agents only.
func (r *Request) limitedTo(agents []string) *Request {
	c := *r
	c.AgentFilter = agents
	c.Metadata = with(maps.Clone(r.Metadata), "agent_filter", agents)
	return &c
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(have string) bool { return strings.EqualFold(have, s) })
}
