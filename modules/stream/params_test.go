package stream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
			"workflow_id=a,b&agent_ids=x,y&agent_ids=Z&event_types=error_notification,performance_metric_update&min_priority=urgent&include_historical=1", "",
			params{metrics: true, history: 100, filter: event.Filter{
				WorkflowIDs: []string{"a,b"}, AgentIDs: []string{"x,y", "Z"},
				Types: []string{"error_notification", "performance_metric_update"}, MinPriority: event.PriorityCritical,
			}},
		},
		"singular names":        {"agent_id=x&event_type=y", "", params{filter: event.Filter{AgentIDs: []string{"x"}, Types: []string{"y"}}}},
		"both":                  {"agent_ids=x&filter=" + url.QueryEscape(`{"include_historical":true}`), "", params{metrics: true, history: 100, filter: event.Filter{AgentIDs: []string{"x"}}}},
		"history says how many": {"include_historical=true&history=7", "", params{metrics: true, history: 7}},
		"cursor":                {"last_event_id=evt_1&reset=floor", "", params{metrics: true, lastID: "evt_1", floor: true}},
		"the header wins":       {"last_event_id=evt_1", "evt_2", params{metrics: true, lastID: "evt_2"}},
		"slow":                  {"slow=latest", "", params{metrics: true, policy: hub.Latest}},
		"a polyfill's":          {"lastEventId=evt_1", "", params{metrics: true, lastID: "evt_1"}},
		"another polyfill's":    {"Last-Event-ID=evt_1", "", params{metrics: true, lastID: "evt_1"}},
		"under two names":       {"last_event_id=evt_1&lastEventId=evt_1&Last-Event-ID=evt_1", "", params{metrics: true, lastID: "evt_1"}},
		"over all names":        {"lastEventId=evt_1&Last-Event-ID=evt_1", "evt_2", params{metrics: true, lastID: "evt_2"}},
		"what lists know": {
			"workflow=w&status=failed,timeout&source=opal", "",
			params{metrics: true, filter: event.Filter{
				WorkflowNames: []string{"w"}, Statuses: []event.Status{event.StatusFailed, event.StatusTimeout}, Sources: []string{"opal"},
			}},
		},
		"the filter's words": {
			"filter=" + url.QueryEscape(`{"agent_ids":["a,B"],"event_types":["x,y"]}`), "",
			params{filter: event.Filter{AgentIDs: []string{"a,B"}, Types: []string{"x", "y"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if tc.header != "" {
				header.Set("Last-Event-ID", tc.header)
			}
			got, invalid := parseParams(header, tc.query, hub.CatchUp)
			if len(invalid) > 0 || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, %v", got, invalid)
			}
		})
	}
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
		j(`{"workflow_id":"x"}`) + "&workflow_id=y":  "workflow_id",
		j(`{}`) + "&" + j(`{}`):                      "filter",
		j(`{"workflow_id":"x"}`) + "&workflow_ids=y": "workflow_ids",
		j(`{"agent_ids":[]}`):                        "agent_ids",
		j(`{"Workflow_ID":"x"}`):                     "filter",
		j(`{"workflow_id":"x","workflow_id":"y"}`):   "filter",
		"filter=":                            "filter",
		"workflow_id=":                       "workflow_id",
		"event_typ=x":                        "event_typ",
		"_=123":                              "_",
		"token=x":                            "token",
		"limit=1":                            "limit",
		"history=":                           "history",
		"reset=":                             "reset",
		"include_historical=true&history=0":  "history",
		"include_historical=false&history=5": "history",
		"last_event_id=":                     "last_event_id",
		"last_event_id=evt_1&last_event_id=evt_1": "last_event_id",
		"last_event_id=evt_1&lastEventId=evt_2":   "lastEventId",
		"lastEventId=evt_1&Last-Event-ID=evt_2":   "Last-Event-ID",
		"last-event-id=evt_1":                     "last-event-id",
		"filter=\xff":                             "filter",
		"filter=%zz":                              "query",
		"min_priority=huge":                       "min_priority",
		"include_historical=maybe":                "include_historical",
		"history=-1":                              "history",
		"history=1001":                            "history",
		"history=x":                               "history",
		"reset=tail":                              "reset",
		"slow=never":                              "slow",
		"workflow_id=" + strings.Repeat("x", 257): "workflow_id",
		"agent_ids=" + strings.Repeat("x&agent_ids=", 100) + "x": "agent_ids",
		"event_types=" + strings.Repeat("x,", 100) + "x":         "event_types",
	} {
		_, invalid := parseParams(http.Header{}, query, hub.CatchUp)
		if len(invalid) != 1 || invalid[0].Field != field {
			t.Errorf("%s: got %v, want %s", query, invalid, field)
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, s := range []string{"", "filter={}", "filter=%7B%22agent_ids%22%3A%5B%22a%22%5D%7D", "agent_ids=a,b&history=3", "filter=%zz", "min_priority=low&slow=latest", "lastEventId=x"} {
		f.Add(s, "evt_1")
	}
	f.Fuzz(func(t *testing.T, query, id string) {
		p, invalid := parseParams(http.Header{lastEventIDKey: {id}}, query, hub.CatchUp)
		if len(invalid) > 0 {
			return
		}
		if p.history < 0 || p.history > hub.MaxHistory || id != "" && p.lastID != id {
			t.Fatalf("%q: %+v", query, p)
		}
		for _, v := range slices.Concat(p.filter.AgentIDs, p.filter.Types, p.filter.WorkflowIDs) {
			if v == "" {
				t.Fatalf("%q: an empty value", query)
			}
		}
	})
}

const lastEventIDKey = "Last-Event-Id" // as net/http writes it

// TestFilterIsAnotherFormOfTheParameters: what the JSON filter says, the plain
// parameters of the same names say.
func TestFilterIsAnotherFormOfTheParameters(t *testing.T) {
	words := rapid.SampledFrom([]string{"", "a", "B,c", " d ", "agent_status,error", "x,,y", "geo_audit", "\u00e9", "high", "urgent", "a&b=c", "%41"})
	rapid.Check(t, func(t *rapid.T) {
		object, plain := map[string]any{}, url.Values{}
		for _, name := range []string{"workflow_id", "min_priority"} {
			if rapid.Bool().Draw(t, name+" given") {
				v := words.Draw(t, name)
				object[name] = v
				plain.Set(name, v)
			}
		}
		for _, name := range []string{"agent_ids", "event_types"} {
			if rapid.Bool().Draw(t, name+" given") {
				v := rapid.SliceOfN(words, 1, 3).Draw(t, name)
				object[name], plain[name] = v, v
			}
		}
		if rapid.Bool().Draw(t, "historical given") {
			v := rapid.Bool().Draw(t, "historical")
			object["include_historical"] = v
			plain.Set("include_historical", fmt.Sprint(v))
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		a, badA := parseParams(http.Header{}, plain.Encode(), hub.CatchUp)
		b, badB := parseParams(http.Header{}, url.Values{"filter": {string(text)}}.Encode(), hub.CatchUp)
		if !reflect.DeepEqual(badA, badB) || badA == nil && !reflect.DeepEqual(a, b) {
			t.Fatalf("%s\n%+v %v\n%+v %v", text, a, badA, b, badB)
		}
	})
}
