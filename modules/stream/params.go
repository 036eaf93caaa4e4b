package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Bounds of what a filter may hold.
const (
	maxValues      = 100
	maxValueLength = 256
	defaultHistory = 100
)

// params are what a client asks for.
type params struct {
	filter event.Filter
	// lastID is the id of the last event that the client saw, or "".
	lastID string
	// floor: after a reset go on from the beginning of the log.
	floor   bool
	history int
	policy  hub.Policy
	// metrics: performance_metric_update passes the filter.
	metrics bool
}

// jsonFilter is `?filter=`: EventFilterParams of the API guide. Null is absent.
type jsonFilter struct {
	WorkflowID        *string  `json:"workflow_id"`
	AgentIDs          []string `json:"agent_ids"`
	EventTypes        []string `json:"event_types"`
	MinPriority       *string  `json:"min_priority"`
	IncludeHistorical *bool    `json:"include_historical"`
}

// policies by their names in the Caddyfile and in ?slow=.
var policies = map[string]hub.Policy{
	"catch_up":   hub.CatchUp,
	"latest":     hub.Latest,
	"disconnect": hub.Disconnect,
}

// parseParams reads what the client asks for and everything that is wrong with it.
func parseParams(header http.Header, query string, policy hub.Policy) (params, []osa.Invalid) {
	p := params{policy: policy}
	var invalid []osa.Invalid
	bad := func(field, format string, args ...any) {
		invalid = append(invalid, osa.Invalid{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		bad("query", "the query string is malformed")
		return p, invalid
	}

	var f jsonFilter
	if raw := q.Get("filter"); raw != "" {
		if err := decodeFilter(raw, &f); err != nil {
			bad("filter", "%s", err)
			return p, invalid
		}
	}
	if len(q["filter"]) > 1 {
		bad("filter", "given more than once")
	}

	// both refuses a field that the JSON filter and a plain parameter give.
	both := func(field string, inFilter bool, values []string) bool {
		if inFilter && len(values) > 0 {
			bad(field, "given both in filter and as a parameter")
			return true
		}
		return false
	}

	workflows := slices.DeleteFunc(q["workflow_id"], func(s string) bool { return s == "" })
	if !both("workflow_id", f.WorkflowID != nil, workflows) && f.WorkflowID != nil {
		workflows = []string{*f.WorkflowID}
	}
	agents := list(q, "agent_ids", "agent_id")
	if !both("agent_ids", f.AgentIDs != nil, agents) && f.AgentIDs != nil {
		agents = f.AgentIDs
	}
	types := list(q, "event_types", "event_type")
	if !both("event_types", f.EventTypes != nil, types) && f.EventTypes != nil {
		types = f.EventTypes
	}
	for field, values := range map[string][]string{"workflow_id": workflows, "agent_ids": agents, "event_types": types} {
		if err := checkValues(values); err != nil {
			bad(field, "%s", err)
		}
	}
	p.filter.WorkflowIDs, p.filter.AgentIDs, p.filter.Types = workflows, agents, types
	p.metrics = len(types) == 0 || slices.Contains(types, event.StreamPerformanceMetricUpdate)

	priority := q.Get("min_priority")
	if !both("min_priority", f.MinPriority != nil, nonEmpty(priority)) && f.MinPriority != nil {
		priority = *f.MinPriority
	}
	if priority != "" || f.MinPriority != nil {
		var known bool
		if p.filter.MinPriority, known = event.LookupPriority(priority); !known {
			bad("min_priority", "want low, medium, high or critical")
		}
	}

	historical := q.Get("include_historical")
	if !both("include_historical", f.IncludeHistorical != nil, nonEmpty(historical)) && f.IncludeHistorical != nil {
		historical = strconv.FormatBool(*f.IncludeHistorical)
	}
	switch historical {
	case "true", "1":
		p.history = defaultHistory
	case "", "false", "0":
	default:
		bad("include_historical", "want true or false")
	}
	if s := q.Get("history"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > hub.MaxHistory {
			bad("history", "want a number from 0 to %d", hub.MaxHistory)
		}
		p.history = n
	}

	switch q.Get("reset") {
	case "", "head":
	case "floor":
		p.floor = true
	default:
		bad("reset", "want head or floor")
	}
	if s := q.Get("slow"); s != "" {
		chosen, ok := policies[s]
		if !ok {
			bad("slow", "want catch_up, latest or disconnect")
		}
		p.policy = chosen
	}

	// The header wins: a browser sends it when it reconnects to the same URL.
	if p.lastID = header.Get("Last-Event-ID"); p.lastID == "" {
		p.lastID = q.Get("last_event_id")
	}
	slices.SortFunc(invalid, func(a, b osa.Invalid) int { return strings.Compare(a.Field, b.Field) })
	return p, invalid
}

func decodeFilter(raw string, f *jsonFilter) error {
	if !utf8.ValidString(raw) {
		return errors.New("not UTF-8")
	}
	if trimmed := strings.TrimSpace(raw); trimmed == "" || trimmed[0] != '{' {
		return errors.New("want a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(f); err != nil {
		var wrongType *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrongType):
			return fmt.Errorf("%s has the wrong type", wrongType.Field)
		case strings.HasPrefix(err.Error(), "json: unknown field "):
			return errors.New(strings.TrimPrefix(err.Error(), "json: "))
		}
		return errors.New("malformed JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("malformed JSON: more after the object")
	}
	return nil
}

// list gathers a list parameter, repeated or comma-separated.
func list(q url.Values, names ...string) (out []string) {
	for _, name := range names {
		for _, v := range q[name] {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					out = append(out, part)
				}
			}
		}
	}
	return out
}

func checkValues(values []string) error {
	if len(values) > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	for _, v := range values {
		if v == "" {
			return errors.New("a value is empty")
		}
		if utf8.RuneCountInString(v) > maxValueLength {
			return fmt.Errorf("a value is longer than %d characters", maxValueLength)
		}
	}
	return nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
