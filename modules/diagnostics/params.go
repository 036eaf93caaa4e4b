package diagnostics

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/event"
)

// Bounds of what a request may ask for.
const (
	maxLimit       = 1000
	maxValues      = 100
	maxValueLength = 256 // characters

	// Between them every time is a number of nanoseconds, as stores keep it.
	firstYear, lastYear = 1970, 2261
)

// listing is what a request for a list of events asks for.
type listing struct {
	filter    event.Filter
	limit     int
	ascending bool
	// after is the last event of the page before, or 0.
	after uint64
}

// invalid is one thing that is wrong with a query.
type invalid struct{ Field, Message string }

// params reads a query parameter by parameter and remembers which were asked
// for, so that what is left over is known to be unknown.
type params struct {
	values url.Values
	known  map[string]bool
	bad    []invalid
}

func newParams(query string) *params {
	p := &params{known: make(map[string]bool)}
	var err error
	if p.values, err = url.ParseQuery(query); err != nil {
		p.add("query", "the query string is malformed")
	}
	return p
}

func (p *params) add(field, format string, args ...any) {
	p.bad = append(p.bad, invalid{field, fmt.Sprintf(format, args...)})
}

// problems is everything that is wrong, in the order of the names.
func (p *params) problems() []invalid {
	for name := range p.values {
		if !p.known[name] {
			p.add(clip(name), "is not a parameter of this endpoint")
		}
	}
	slices.SortStableFunc(p.bad, func(a, b invalid) int { return strings.Compare(a.Field, b.Field) })
	return p.bad
}

// parseListing reads the parameters of a list: which events, in which order, and
// from where on.
func parseListing(query string, defaultLimit int) (listing, []invalid) {
	p := newParams(query)
	l := listing{filter: p.filter(), limit: defaultLimit}
	if s, ok := p.one("limit"); ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			p.add("limit", "must be a number from 1 to %d", maxLimit)
		}
		l.limit = n
	}
	order, ordered := p.one("order")
	switch {
	case !ordered || order == "desc":
	case order == "asc":
		l.ascending = true
	default:
		p.add("order", "must be asc or desc")
	}
	if s, ok := p.one("cursor"); ok {
		c, err := event.ParseCursor(s)
		switch {
		case err != nil:
			p.add("cursor", "is not a next_cursor that a list gave out")
		case ordered && c.Ascending != l.ascending:
			p.add("cursor", "runs in the other order")
		}
		l.after, l.ascending = c.Seq, c.Ascending
	}
	return l, p.problems()
}

// filter reads the parameters that select events. Lists are repeated or
// comma-separated, and names may be in the plural.
func (p *params) filter() event.Filter {
	f := event.Filter{
		WorkflowIDs:   p.list("workflow_id", "workflow_ids"),
		WorkflowNames: p.list("workflow", "workflow_name"),
		AgentIDs:      p.list("agent_id", "agent_ids"),
		Types:         p.list("event_type", "event_types"),
		Sources:       p.list("source", "sources"),
	}
	for _, s := range p.list("status", "statuses") {
		status := event.NormalizeStatus(s)
		if status == "" {
			p.add("status", "%q is no status; want idle, starting, pending, running, completed, failed or timeout", clip(s))
			continue
		}
		f.Statuses = append(f.Statuses, status)
	}
	if s, ok := p.one("min_priority"); ok {
		if f.MinPriority, ok = event.LookupPriority(s); !ok {
			p.add("min_priority", "must be low, medium, high or critical")
		}
	}
	f.Since, _ = p.date("start_date")
	if at, precision := p.date("end_date"); !at.IsZero() {
		f.Until = at.Add(precision - 1)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && f.Until.Before(f.Since) {
		p.add("end_date", "is before start_date")
	}
	// What the gateway made itself is listed only by its source.
	f.WebhooksOnly = len(f.Sources) == 0
	return f
}

// one reads a parameter that can be given once.
func (p *params) one(name string) (string, bool) {
	p.known[name] = true
	values := p.values[name]
	if len(values) > 1 {
		p.add(name, "is given more than once")
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// list reads a parameter that takes several values. One that is there and empty
// is refused: to take it for absent would silently select everything.
func (p *params) list(names ...string) (out []string) {
	for _, name := range names {
		p.known[name] = true
		before := len(out)
		for _, v := range p.values[name] {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					out = append(out, part)
				}
			}
		}
		values := out[before:]
		switch {
		case p.values[name] != nil && len(values) == 0:
			p.add(name, "must not be empty")
		case len(values) > maxValues:
			p.add(name, "must not have more than %d values", maxValues)
		case slices.ContainsFunc(values, func(s string) bool {
			return !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxValueLength
		}):
			p.add(name, "must have values of at most %d characters", maxValueLength)
		}
	}
	return out
}

// date reads a day or a time. precision is the unit of its last digit: an end is
// inclusive, so 2024-01-15 ends with that day, and 23:59:59 with that second.
func (p *params) date(name string) (at time.Time, precision time.Duration) {
	s, ok := p.one(name)
	if !ok {
		return time.Time{}, 0
	}
	at, err := time.Parse(time.DateOnly, s)
	if precision = 24 * time.Hour; err != nil {
		// The plus of an offset that was not escaped arrives as a space.
		at, err = time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1))
		precision = time.Second
	}
	if at = at.UTC(); err != nil || at.Year() < firstYear || at.Year() > lastYear {
		p.add(name, "must be a day (2024-01-15) or a time (2024-01-15T10:00:00Z) between the years %d and %d", firstYear, lastYear)
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

// clip shortens what is repeated to the client.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
