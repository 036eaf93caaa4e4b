package stream

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/query"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// defaultHistory is how many events include_historical sends first.
const defaultHistory = 100

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
	query.EventFilter
	IncludeHistorical *bool `json:"include_historical"`
}

// policies by their names in the Caddyfile and in ?slow=.
var policies = map[string]hub.Policy{
	"catch_up":   hub.CatchUp,
	"latest":     hub.Latest,
	"disconnect": hub.Disconnect,
}

// lastEventID is the header that a browser sends when it reconnects.
const lastEventID = "Last-Event-ID"

// parseParams reads what the client asks for and everything that is wrong with it.
func parseParams(header http.Header, raw string, policy hub.Policy) (params, []httperror.Invalid) {
	q := query.Parse(raw)
	fillFilter(q)
	p := params{filter: q.Filter(), policy: policy}
	p.metrics = passesMetrics(&p.filter)

	historical, asked := q.Bool("include_historical")
	if historical {
		p.history = defaultHistory
	}
	if n, ok := q.Number("history", 0, hub.MaxHistory); ok {
		if asked && historical != (n > 0) {
			q.Refuse("history", "contradicts include_historical")
		}
		p.history = n
	}
	reset, _ := q.Choice("reset", "head", "floor")
	p.floor = reset == "floor"
	if s, ok := q.Choice("slow", "catch_up", "latest", "disconnect"); ok {
		p.policy = policies[s]
	}

	// Polyfills that cannot set a header send the last two. A browser reconnects
	// to the same URL and sends the header, so that the header wins.
	p.lastID, _ = q.One("last_event_id", "lastEventId", lastEventID)
	if id := header.Get(lastEventID); id != "" {
		p.lastID = id
	}
	return p, q.Invalid()
}

// passesMetrics tells whether performance_metric_update, which is no event of the
// log, is among what the filter selects: nothing else than its name selects it.
func passesMetrics(f *event.Filter) bool {
	return len(f.Types) == 0 || slices.Contains(f.Types, event.StreamPerformanceMetricUpdate)
}

// fillFilter reads the JSON filter, another form of the plain parameters.
func fillFilter(q *query.Params) {
	raw, ok := q.One("filter")
	if !ok {
		return
	}
	var f jsonFilter
	if !strings.HasPrefix(strings.TrimLeft(raw, " \t\r\n"), "{") {
		q.Refuse("filter", "must be a JSON object")
		return
	}
	if err := strictjson.UnmarshalKnown([]byte(raw), &f); err != nil {
		q.Refuse("filter", "%s", err)
		return
	}
	q.FillFilter("filter", &f.EventFilter)
	if f.IncludeHistorical != nil {
		q.Fill("filter", "include_historical", []string{strconv.FormatBool(*f.IncludeHistorical)})
	}
}
