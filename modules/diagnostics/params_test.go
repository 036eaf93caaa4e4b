package diagnostics

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParseListing(t *testing.T) {
	webhooks := event.Filter{WebhooksOnly: true}
	for query, want := range map[string]listing{
		"":                  {filter: webhooks, limit: 10},
		"limit=1":           {filter: webhooks, limit: 1},
		"limit=1000":        {filter: webhooks, limit: 1000},
		"order=asc":         {filter: webhooks, limit: 10, ascending: true},
		"order=desc":        {filter: webhooks, limit: 10},
		"status=failed":     {filter: event.Filter{Statuses: []event.Status{"failed"}, WebhooksOnly: true}, limit: 10},
		"source=gateway":    {filter: event.Filter{Sources: []string{"gateway"}}, limit: 10},
		"min_priority=high": {filter: event.Filter{MinPriority: event.PriorityHigh, WebhooksOnly: true}, limit: 10},
		"status=success,TIMEOUT&event_type=a&event_types=b,%20c&workflow=strategy_workflow&workflow_id=w1&workflow_id=w2&agent_id=x&agent_ids=y,,z": {
			filter: event.Filter{
				Statuses: []event.Status{"completed", "timeout"}, Types: []string{"a", "b", "c"}, WorkflowNames: []string{"strategy_workflow"},
				WorkflowIDs: []string{"w1", "w2"}, AgentIDs: []string{"x", "y", "z"}, WebhooksOnly: true,
			}, limit: 10,
		},
		"start_date=2024-01-15&end_date=2024-01-15": {filter: event.Filter{
			Since: at("2024-01-15T00:00:00Z"), Until: at("2024-01-15T23:59:59.999999999Z"), WebhooksOnly: true,
		}, limit: 10},
		"start_date=2024-01-15T00:00:00Z&end_date=2024-01-15T23:59:59Z": {filter: event.Filter{
			Since: at("2024-01-15T00:00:00Z"), Until: at("2024-01-15T23:59:59.999999999Z"), WebhooksOnly: true,
		}, limit: 10},
		"end_date=2024-01-15T10:00:00.123456%2B02:00": {filter: event.Filter{Until: at("2024-01-15T08:00:00.123456999Z"), WebhooksOnly: true}, limit: 10},
		"end_date=2024-01-15T10:00:00+02:00":          {filter: event.Filter{Until: at("2024-01-15T08:00:00.999999999Z"), WebhooksOnly: true}, limit: 10},
		"end_date=2024-01-15T10:00:00.1234567891Z":    {filter: event.Filter{Until: at("2024-01-15T10:00:00.123456789Z"), WebhooksOnly: true}, limit: 10},
		"cursor=" + event.Cursor{Seq: 7}.String():     {filter: webhooks, limit: 10, after: 7},
		// A cursor knows the order that it runs in.
		"cursor=" + event.Cursor{Seq: 7, Ascending: true}.String():           {filter: webhooks, limit: 10, after: 7, ascending: true},
		"order=asc&cursor=" + event.Cursor{Seq: 7, Ascending: true}.String(): {filter: webhooks, limit: 10, after: 7, ascending: true},
	} {
		got, bad := parseListing(query, 10)
		if bad != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v %v\nwant %+v", query, got, bad, want)
		}
	}
}

func TestParseListingRefusals(t *testing.T) {
	for query, want := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=1.5": "limit", "limit=ten": "limit", "limit=": "limit",
		"limit=1&limit=2": "limit", "limit=99999999999999999999": "limit",
		"status=odd": "status", "status=": "status", "event_type=,": "event_type", "workflow_id=": "workflow_id",
		"workflow_id=" + strings.Repeat("x", 257): "workflow_id", "agent_id=%ff": "agent_id",
		"agent_ids=" + strings.Repeat("a,", 101): "agent_ids",
		"min_priority=extreme":                   "min_priority", "min_priority=": "min_priority",
		"order=up": "order", "order=": "order",
		"cursor=x": "cursor", "cursor=": "cursor", "cursor=evt_7": "cursor",
		"order=desc&cursor=" + event.Cursor{Seq: 7, Ascending: true}.String(): "cursor",
		"order=asc&cursor=" + event.Cursor{Seq: 7}.String():                   "cursor",
		"start_date=yesterday": "start_date", "start_date=2024-13-01": "start_date", "start_date=2024-01-15T10:00:00": "start_date",
		"start_date=1700000000": "start_date", "start_date=": "start_date", "start_date=0001-01-01": "start_date", "end_date=9999-12-31": "end_date",
		"start_date=1970-01-01T00:00:00%2B01:00":    "start_date",
		"end_date=2024-01-15&end_date=2024-01-16":   "end_date",
		"start_date=2024-01-16&end_date=2024-01-15": "end_date",
		"limits=10": "limits", "Limit=10": "Limit", "workspace=acme": "workspace", "a;b": "query", "limit=%zz": "query",
		"limit=0&status=odd&order=up&foo=bar&end_date=x": "end_date foo limit order status",
	} {
		_, bad := parseListing(query, 10)
		var fields []string
		for _, b := range bad {
			fields = append(fields, b.Field)
		}
		if got := strings.Join(fields, " "); got != want {
			t.Errorf("%s: details name %q, want %q: %v", query, got, want, bad)
		}
	}
}

func FuzzParseListing(f *testing.F) {
	for _, s := range []string{
		"", "limit=10&status=failed", "cursor=ZDc&order=desc", "start_date=2024-01-15&end_date=2024-01-15T23:59:59Z", "agent_ids=a,b&agent_id=c",
		"min_priority=urgent", "%zz", "a;b", "limit=%30", "end_date=2024-01-15T10:00:00.1+02:00", "status=%ff", "=", "&&",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		l, bad := parseListing(query, 10)
		for _, b := range bad {
			if b.Field == "" && !strings.HasPrefix(query, "=") && !strings.Contains(query, "&=") || b.Message == "" {
				t.Errorf("%q: %+v", query, b)
			}
		}
		if bad != nil {
			return
		}
		if l.limit < 1 || l.limit > maxLimit {
			t.Errorf("%q: limit %d", query, l.limit)
		}
		for _, d := range []time.Time{l.filter.Since, l.filter.Until} {
			if !d.IsZero() && !time.Unix(0, d.UnixNano()).Equal(d) {
				t.Errorf("%q: %v is no number of nanoseconds", query, d)
			}
		}
		// What is taken is never wider than what was asked for.
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q: %v", query, err)
		}
		for names, n := range map[[2]string]int{
			{"workflow_id", "workflow_ids"}: len(l.filter.WorkflowIDs),
			{"agent_id", "agent_ids"}:       len(l.filter.AgentIDs),
			{"event_type", "event_types"}:   len(l.filter.Types),
			{"status", "statuses"}:          len(l.filter.Statuses),
			{"source", "sources"}:           len(l.filter.Sources),
		} {
			if asked := values.Has(names[0]) || values.Has(names[1]); asked != (n > 0) {
				t.Errorf("%q: %s is asked for: %v, taken: %d", query, names[0], asked, n)
			}
		}
	})
}
