package query_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/query"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestFilter(t *testing.T) {
	for raw, want := range map[string]event.Filter{
		"":                                     {},
		"workflow_id=pre%2Cx":                  {WorkflowIDs: []string{"pre,x"}},
		"workflow_id=pre,x":                    {WorkflowIDs: []string{"pre,x"}},
		"workflow_id=+A+&workflow_id=b":        {WorkflowIDs: []string{" A ", "b"}},
		"workflow_id=a&workflow_ids=b":         {WorkflowIDs: []string{"a", "b"}},
		"workflow=my,flow&workflow_name=n":     {WorkflowNames: []string{"my,flow", "n"}},
		"agent_id=a,B&agent_ids=c":             {AgentIDs: []string{"a,B", "c"}},
		"event_type=a&event_types=b,c&":        {Types: []string{"a", "b", "c"}},
		"event_type=a,+b":                      {Types: []string{"a", " b"}},
		"source=opal,ga4&sources=x":            {Sources: []string{"opal", "ga4", "x"}},
		"status=success,TIMEOUT&statuses=idle": {Statuses: []event.Status{"completed", "timeout", "idle"}},
		"min_priority=urgent":                  {MinPriority: event.PriorityCritical},
		"start_date=2024-01-15&end_date=2024-01-15": {
			Since: at("2024-01-15T00:00:00Z"), Until: at("2024-01-15T23:59:59.999999999Z"),
		},
		"start_date=2024-01-15T00:00:00Z&end_date=2024-01-15T23:59:59Z": {
			Since: at("2024-01-15T00:00:00Z"), Until: at("2024-01-15T23:59:59.999999999Z"),
		},
		"end_date=2024-01-15T10:00:00.123456%2B02:00": {Until: at("2024-01-15T08:00:00.123456999Z")},
		"end_date=2024-01-15T10:00:00+02:00":          {Until: at("2024-01-15T08:00:00.999999999Z")},
		"end_date=2024-01-15T10:00:00.1234567891Z":    {Until: at("2024-01-15T10:00:00.123456789Z")},
	} {
		p := query.Parse(raw)
		got := p.Filter()
		if bad := p.Invalid(); bad != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v %v\nwant %+v", raw, got, bad, want)
		}
	}
}

// fields names what is wrong.
func fields(bad []query.Invalid) string {
	var names []string
	for _, b := range bad {
		names = append(names, b.Field)
	}
	return strings.Join(names, " ")
}

func TestFilterRefusals(t *testing.T) {
	for raw, want := range map[string]string{
		"workflow_id=":                            "workflow_id",
		"workflow_id":                             "workflow_id",
		"workflow_id=a&workflow_id=":              "workflow_id",
		"workflow_id=a&workflow_ids=":             "workflow_ids",
		"workflow=":                               "workflow",
		"agent_id=":                               "agent_id",
		"event_type=,":                            "event_type",
		"event_type=a,,b":                         "event_type",
		"event_types=a,":                          "event_types",
		"source=":                                 "source",
		"status=":                                 "status",
		"status=odd":                              "status",
		"status=odd,even&statuses=strange":        "status statuses",
		"status=+failed":                          "status",
		"status=failed,,":                         "status",
		"min_priority=":                           "min_priority",
		"min_priority=extreme":                    "min_priority",
		"min_priority=low,high":                   "min_priority",
		"min_priority=low&min_priority=low":       "min_priority",
		"workflow_id=" + strings.Repeat("x", 257): "workflow_id",
		"workflow_id=%ff":                         "workflow_id",
		"agent_ids=" + strings.Repeat("a&agent_ids=", 100) + "a": "agent_ids",
		"event_type=" + strings.Repeat("a,", 100) + "a":          "event_type",
		"start_date=yesterday":                                   "start_date",
		"start_date=2024-13-01":                                  "start_date",
		"start_date=2024-01-15T10:00:00":                         "start_date",
		"start_date=1700000000":                                  "start_date",
		"start_date=":                                            "start_date",
		"start_date=0001-01-01":                                  "start_date",
		"start_date=1970-01-01T00:00:00%2B01:00":                 "start_date",
		"end_date=9999-12-31":                                    "end_date",
		"end_date=2024-01-15&end_date=2024-01-16":                "end_date",
		"start_date=2024-01-16&end_date=2024-01-15":              "end_date",
		"event_typ=a":                                            "event_typ",
		"Workflow_Id=a":                                          "Workflow_Id",
		"workspace_id=acme":                                      "workspace_id",
		"=a":                                                     "query",
		"a;b":                                                    "query",
		"workflow_id=%zz":                                        "query",
		"status=odd&foo=bar&end_date=x&workflow_id=":             "end_date foo status workflow_id",
	} {
		p := query.Parse(raw)
		p.Filter()
		if got := fields(p.Invalid()); got != want {
			t.Errorf("%s: names %q, want %q", raw, got, want)
		}
	}
}

func TestOne(t *testing.T) {
	for raw, want := range map[string]string{
		"":              "",
		"a=1":           "1",
		"B=1":           "1",
		"a=1&B=1":       "1",
		"a=1&B=2":       "B",
		"a=1&a=1":       "a",
		"a=":            "a",
		"a":             "a",
		"a=1&B=":        "B",
		"a=%201%20":     " 1 ",
		"a=1,2":         "1,2",
		"b=1":           "b",
		"a=1&B=1&B=1":   "B",
		"a=1&B=1&c=x&B": "B c",
	} {
		p := query.Parse(raw)
		got, _ := p.One("a", "B")
		if bad := p.Invalid(); bad != nil {
			got = fields(bad)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}

func TestSingles(t *testing.T) {
	for raw, want := range map[string]string{
		"n=1": "", "n=10": "", "n=0": "n", "n=11": "n", "n=": "n", "n=1.5": "n", "n=+1": "n", "n=1&n=1": "n", "n=99999999999999999999": "n",
		"b=true": "", "b=0": "", "b=TRUE": "b", "b=yes": "b", "b=": "b",
		"c=x": "", "c=y": "", "c=X": "c", "c=x,y": "c", "c=": "c",
	} {
		p := query.Parse(raw)
		p.Number("n", 1, 10)
		p.Bool("b")
		p.Choice("c", "x", "y")
		if got := fields(p.Invalid()); got != want {
			t.Errorf("%s: names %q, want %q", raw, got, want)
		}
	}
}

// A credential in the wrong place is not repeated, whatever it is given as.
func TestNoValueIsRepeated(t *testing.T) {
	const secret = "opal_prod_0123456789abcdef0123456789abcdef"
	for _, raw := range []string{
		secret, secret + "=1", "token=" + secret, "status=" + secret, "min_priority=" + secret, "start_date=" + secret, "n=" + secret,
		"b=" + secret, "c=" + secret, "a=" + secret + "&a=" + secret, "a=1&B=" + secret, "%zz" + secret, "x=%zz" + secret,
	} {
		p := query.Parse(raw)
		p.Filter()
		p.One("a", "B")
		p.Number("n", 1, 10)
		p.Bool("b")
		p.Choice("c", "x", "y")
		bad := p.Invalid()
		if len(bad) == 0 {
			t.Errorf("%s is taken", raw)
		}
		for _, b := range bad {
			if strings.Contains(b.Field+b.Message, secret[:20]) {
				t.Errorf("%s: repeated in %+v", raw, b)
			}
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"", "limit=10&status=failed", "start_date=2024-01-15&end_date=2024-01-15T23:59:59Z", "agent_ids=a,b&agent_id=c",
		"min_priority=urgent", "%zz", "a;b", "limit=%30", "end_date=2024-01-15T10:00:00.1+02:00", "status=%ff", "=", "&&", "event_type=a,,b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p := query.Parse(raw)
		got := p.Filter()
		bad := p.Invalid()
		for _, b := range bad {
			if b.Field == "" || b.Message == "" {
				t.Errorf("%q: %+v", raw, b)
			}
		}
		if bad != nil {
			return
		}
		for _, d := range []time.Time{got.Since, got.Until} {
			if !d.IsZero() && !time.Unix(0, d.UnixNano()).Equal(d) {
				t.Errorf("%q: %v is no number of nanoseconds", raw, d)
			}
		}
		// What is taken is neither wider nor narrower than what was asked for.
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		for _, c := range []struct {
			one, many string
			words     bool
			got       int
		}{
			{"workflow_id", "workflow_ids", false, len(got.WorkflowIDs)},
			{"workflow", "workflow_name", false, len(got.WorkflowNames)},
			{"agent_id", "agent_ids", false, len(got.AgentIDs)},
			{"event_type", "event_types", true, len(got.Types)},
			{"status", "statuses", true, len(got.Statuses)},
			{"source", "sources", true, len(got.Sources)},
		} {
			want := len(values[c.one]) + len(values[c.many])
			if c.words {
				for _, v := range append(values[c.one], values[c.many]...) {
					want += strings.Count(v, ",")
				}
			}
			if c.got != want {
				t.Errorf("%q: %d values of %s, want %d", raw, c.got, c.one, want)
			}
			delete(values, c.one)
			delete(values, c.many)
		}
		for _, name := range []string{"min_priority", "start_date", "end_date"} {
			delete(values, name)
		}
		if len(values) > 0 {
			t.Errorf("%q: %v is ignored", raw, values)
		}
	})
}
