package diagnostics

import (
	"reflect"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
)

func TestParseListing(t *testing.T) {
	webhooks := event.Filter{WebhooksOnly: true}
	for raw, want := range map[string]listing{
		"":               {filter: webhooks, limit: 10},
		"limit=1":        {filter: webhooks, limit: 1},
		"limit=1000":     {filter: webhooks, limit: 1000},
		"order=asc":      {filter: webhooks, limit: 10, ascending: true},
		"order=desc":     {filter: webhooks, limit: 10},
		"source=gateway": {filter: event.Filter{Sources: []string{"gateway"}}, limit: 10},
		"workflow=strategy_workflow&workflow_id=pre,x": {
			filter: event.Filter{WorkflowNames: []string{"strategy_workflow"}, WorkflowIDs: []string{"pre,x"}, WebhooksOnly: true}, limit: 10,
		},
		"cursor=" + event.Cursor{Seq: 7}.String(): {filter: webhooks, limit: 10, after: 7},
		// A cursor knows the order that it runs in.
		"cursor=" + event.Cursor{Seq: 7, Ascending: true}.String():           {filter: webhooks, limit: 10, after: 7, ascending: true},
		"order=asc&cursor=" + event.Cursor{Seq: 7, Ascending: true}.String(): {filter: webhooks, limit: 10, after: 7, ascending: true},
	} {
		got, bad := parseListing(raw, 10)
		if bad != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v %v\nwant %+v", raw, got, bad, want)
		}
	}
}

func TestParseListingRefusals(t *testing.T) {
	for raw, want := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=ten": "limit", "limit=": "limit", "limit=1&limit=2": "limit",
		"order=up": "order", "order=": "order", "order=ASC": "order",
		"cursor=x": "cursor", "cursor=": "cursor", "cursor=evt_7": "cursor",
		"order=desc&cursor=" + event.Cursor{Seq: 7, Ascending: true}.String(): "cursor",
		"order=asc&cursor=" + event.Cursor{Seq: 7}.String():                   "cursor",
		"limits=10": "limits", "Limit=10": "Limit", "filter={}": "filter", "history=1": "history",
		"limit=0&status=odd&order=up&foo=bar&end_date=x": "end_date foo limit order status",
	} {
		_, bad := parseListing(raw, 10)
		var fields []string
		for _, b := range bad {
			fields = append(fields, b.Field)
		}
		if got := strings.Join(fields, " "); got != want {
			t.Errorf("%s: details name %q, want %q: %v", raw, got, want, bad)
		}
	}
}

func FuzzParseListing(f *testing.F) {
	for _, s := range []string{"", "limit=10&status=failed", "cursor=ZDc&order=desc", "limit=%30", "order=asc&workflow_id=a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if l, bad := parseListing(raw, 10); bad == nil && (l.limit < 1 || l.limit > maxLimit) {
			t.Errorf("%q: limit %d", raw, l.limit)
		}
	})
}
