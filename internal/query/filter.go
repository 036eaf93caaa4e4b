package query

import (
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// The names of the parameters that select events. A list has a singular and a
// plural name.
var (
	workflowIDNames   = []string{"workflow_id", "workflow_ids"}
	workflowNameNames = []string{"workflow", "workflow_name"}
	agentIDNames      = []string{"agent_id", "agent_ids"}
	typeNames         = []string{"event_type", "event_types"}
	statusNames       = []string{"status", "statuses"}
	sourceNames       = []string{"source", "sources"}
)

// Times between these years fit into nanoseconds, as stores keep them.
const firstYear, lastYear = 1970, 2261

// EventFilter is the part of the API guide's EventFilterParams that selects
// events. It is another form of the parameters with the same names. null means
// absent.
type EventFilter struct {
	WorkflowID  *string  `json:"workflow_id"`
	AgentIDs    []string `json:"agent_ids"`
	EventTypes  []string `json:"event_types"`
	MinPriority *string  `json:"min_priority"`
}

// FillFilter sets the parameters from the filter. from is its name in messages.
func (p *Params) FillFilter(from string, f *EventFilter) {
	if f.WorkflowID != nil {
		p.Fill(from, "workflow_id", []string{*f.WorkflowID}, workflowIDNames...)
	}
	if f.AgentIDs != nil {
		p.Fill(from, "agent_ids", f.AgentIDs, agentIDNames...)
	}
	if f.EventTypes != nil {
		p.Fill(from, "event_types", f.EventTypes, typeNames...)
	}
	if f.MinPriority != nil {
		p.Fill(from, "min_priority", []string{*f.MinPriority})
	}
}

// Filter reads the parameters that select events. The caller sets the
// workspace.
func (p *Params) Filter() event.Filter {
	f := event.Filter{
		WorkflowIDs:   p.IDs(workflowIDNames...),
		WorkflowNames: p.IDs(workflowNameNames...),
		AgentIDs:      p.IDs(agentIDNames...),
		Types:         p.Words(typeNames...),
		Sources:       p.Words(sourceNames...),
		Statuses:      p.statuses(),
	}
	if s, ok := p.One("min_priority"); ok {
		if f.MinPriority, ok = event.LookupPriority(s); !ok {
			p.Refuse("min_priority", "must be low, medium, high or critical")
		}
	}
	f.Since, _ = p.date("start_date")
	if at, precision := p.date("end_date"); !at.IsZero() {
		f.Until = at.Add(precision - 1)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && f.Until.Before(f.Since) {
		p.Refuse("end_date", "is before start_date")
	}
	return f
}

func (p *Params) statuses() (out []event.Status) {
	for _, name := range statusNames {
		unknown := false
		for _, s := range p.Words(name) {
			status := event.NormalizeStatus(s)
			unknown = unknown || status == "" && s != "" // The empty value was reported already.
			out = append(out, status)
		}
		if unknown {
			p.Refuse(name, "must be idle, starting, pending, running, completed, failed or timeout")
		}
	}
	return out
}

// date parses a day or a time. precision is the unit of its last digit. The end
// of a range is inclusive: 2024-01-15 includes that whole day, and 23:59:59
// that whole second.
func (p *Params) date(name string) (at time.Time, precision time.Duration) {
	s, ok := p.One(name)
	if !ok {
		return time.Time{}, 0
	}
	at, err := time.Parse(time.DateOnly, s)
	if precision = 24 * time.Hour; err != nil {
		// An unescaped plus of an offset arrives as a space.
		at, err = time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1))
		precision = time.Second
	}
	if at = at.UTC(); err != nil || at.Year() < firstYear || at.Year() > lastYear {
		p.Refuse(name, "must be a day (2024-01-15) or a time (2024-01-15T10:00:00Z) between the years %d and %d", firstYear, lastYear)
		return time.Time{}, 0
	}
	if dot := strings.IndexAny(s, ".,"); dot >= 0 {
		for _, c := range s[dot+1:] {
			if c < '0' || c > '9' || precision == 1 {
				break
			}
			precision /= 10
		}
	}
	return at, precision
}
