package stream

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/hub"
)

func TestParams(t *testing.T) {
	for name, tc := range map[string]struct {
		query  string
		header string
		want   params
	}{
		"nothing": {"", "", params{metrics: true}},
		"the guide's filter": {
			"filter=" + url.QueryEscape(`{"workflow_id":"wf_12345","event_types":["agent_status_change","workflow_progress_update"],"min_priority":"medium"}`), "",
			params{filter: event.Filter{
				WorkflowIDs: []string{"wf_12345"}, Types: []string{"agent_status_change", "workflow_progress_update"}, MinPriority: event.PriorityMedium,
			}},
		},
		"nulls are absent": {
			"filter=" + url.QueryEscape(`{"workflow_id":null,"agent_ids":null,"event_types":null,"min_priority":null,"include_historical":null}`), "",
			params{metrics: true},
		},
		"plain": {
			"workflow_id=a,b&agent_ids=x,y&agent_ids=z&event_types=error_notification,performance_metric_update&min_priority=urgent&include_historical=1", "",
			params{metrics: true, history: 100, filter: event.Filter{
				WorkflowIDs: []string{"a,b"}, AgentIDs: []string{"x", "y", "z"},
				Types: []string{"error_notification", "performance_metric_update"}, MinPriority: event.PriorityCritical,
			}},
		},
		"singular names":        {"agent_id=x&event_type=y", "", params{filter: event.Filter{AgentIDs: []string{"x"}, Types: []string{"y"}}}},
		"both":                  {"agent_ids=x&filter=" + url.QueryEscape(`{"include_historical":true}`), "", params{metrics: true, history: 100, filter: event.Filter{AgentIDs: []string{"x"}}}},
		"history says how many": {"include_historical=true&history=7", "", params{metrics: true, history: 7}},
		"cursor":                {"last_event_id=evt_1&reset=floor", "", params{metrics: true, lastID: "evt_1", floor: true}},
		"the header wins":       {"last_event_id=evt_1", "evt_2", params{metrics: true, lastID: "evt_2"}},
		"slow":                  {"slow=latest", "", params{metrics: true, policy: hub.Latest}},
		"others' parameters":    {"_=123&token=x", "", params{metrics: true}},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if tc.header != "" {
				header.Set("Last-Event-ID", tc.header)
			}
			got, invalid := parseParams(header, tc.query, hub.CatchUp)
			if len(invalid) > 0 || !reflect.DeepEqual(normal(got), normal(tc.want)) {
				t.Errorf("got %+v, %v", got, invalid)
			}
		})
	}
}

// normal makes empty lists equal.
func normal(p params) params {
	for _, l := range []*[]string{&p.filter.WorkflowIDs, &p.filter.AgentIDs, &p.filter.Types} {
		if len(*l) == 0 {
			*l = nil
		}
	}
	return p
}

func TestMalformedParams(t *testing.T) {
	j := func(s string) string { return "filter=" + url.QueryEscape(s) }
	for query, field := range map[string]string{
		j(`{`):                            "filter",
		j(`[]`):                           "filter",
		j(`null`):                         "filter",
		j(`"x"`):                          "filter",
		j(`{} {}`):                        "filter",
		j(`{"workflow":"x"}`):             "filter",
		j(`{"agent_ids":"x"}`):            "filter",
		j(`{"agent_ids":[1]}`):            "filter",
		j(`{"workflow_id":5}`):            "filter",
		j(`{"include_historical":"yes"}`): "filter",
		j(`{"min_priority":"huge"}`):      "min_priority",
		j(`{"min_priority":""}`):          "min_priority",
		j(`{"agent_ids":[""]}`):           "agent_ids",
		j(`{"workflow_id":""}`):           "workflow_id",
		j(`{"workflow_id":"x"}`) + "&workflow_id=y": "workflow_id",
		j(`{}`) + "&" + j(`{}`):                     "filter",
		"filter=\xff":                               "filter",
		"filter=%zz":                                "query",
		"min_priority=huge":                         "min_priority",
		"include_historical=maybe":                  "include_historical",
		"history=-1":                                "history",
		"history=1001":                              "history",
		"history=x":                                 "history",
		"reset=tail":                                "reset",
		"slow=never":                                "slow",
		"workflow_id=" + strings.Repeat("x", 257): "workflow_id",
		"agent_ids=" + strings.Repeat("x,", 101):  "agent_ids",
	} {
		_, invalid := parseParams(http.Header{}, query, hub.CatchUp)
		if len(invalid) != 1 || invalid[0].Field != field {
			t.Errorf("%s: got %v, want %s", query, invalid, field)
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, s := range []string{"", "filter={}", "filter=%7B%22agent_ids%22%3A%5B%22a%22%5D%7D", "agent_ids=a,b&history=3", "filter=%zz", "min_priority=low&slow=latest"} {
		f.Add(s, "evt_1")
	}
	f.Fuzz(func(t *testing.T, query, id string) {
		p, invalid := parseParams(http.Header{"Last-Event-Id": {id}}, query, hub.CatchUp)
		if len(invalid) > 0 {
			return
		}
		if p.history < 0 || p.history > hub.MaxHistory || len(p.filter.AgentIDs) > maxValues || len(p.filter.Types) > maxValues {
			t.Fatalf("%q: %+v", query, p)
		}
		for _, v := range p.filter.AgentIDs {
			if v == "" {
				t.Fatalf("%q: an empty value", query)
			}
		}
	})
}
