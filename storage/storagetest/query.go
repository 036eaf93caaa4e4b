package storagetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

var queryTests = map[string]func(*testing.T, Opener){
	"Filters":             testFilters,
	"Pages":               testPages,
	"SeenAtOnce":          testSeenAtOnce,
	"Dates":               testDates,
	"ClockGoesBack":       testClockGoesBack,
	"ManyValues":          testManyValues,
	"OddBatches":          testOddBatches,
	"WorkspacesAreApart":  testWorkspacesAreApart,
	"AcrossManyDayRanges": testAcrossManyDayRanges,
}

// selected returns the events that the filter matches.
func selected(events []*event.Event, filter event.Filter) []*event.Event {
	var out []*event.Event
	for _, e := range events {
		if filter.Matches(e) {
			out = append(out, e)
		}
	}
	return out
}

// expect compares all pages of a query with selected, in both directions.
func (f *fixture) expect(events []*event.Event, filter event.Filter, limit int) {
	f.Helper()
	want := selected(events, filter)
	f.sameAll(f.list(storage.Query{Filter: filter, Limit: limit}), reversed(want))
	f.sameAll(f.list(storage.Query{Filter: filter, Limit: limit, Ascending: true}), want)
}

// mixed generates events that differ in every field that filters use.
func (f *fixture) mixed(n int) []*event.Event {
	return f.events(n, func(i int, e *event.Event) {
		e.WorkspaceID = []string{"ws_a", "ws_b"}[i%7/6]
		switch i % 11 {
		case 3:
			e.Source, e.WorkflowName = event.SourceGateway, ""
		case 5:
			e.ReplayOf = 1
		case 7:
			e.Source, e.Severity = "ga4", "urgent"
		case 8:
			e.AgentID, e.Severity = "Content_Review", "low"
		case 9:
			e.Type, e.Kind, e.Status = "", event.KindOther, ""
		}
	})
}

func testFilters(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.mixed(600)
	for i := 0; i < len(events); i += 60 {
		f.commit(events[i : i+60]...)
	}
	for _, filter := range []event.Filter{
		{},
		{WorkspaceID: "ws_a"},
		{WorkspaceID: "ws_none"},
		{WorkflowIDs: []string{events[0].WorkflowID, events[300].WorkflowID, "nothing"}},
		{WorkflowIDs: []string{"nothing"}},
		{WorkflowNames: []string{"strategy_workflow"}, WebhooksOnly: true},
		{AgentIDs: []string{"CONTENT_REVIEW"}},
		{AgentIDs: []string{"content_review", "geo_audit"}, Statuses: []event.Status{event.StatusCompleted, event.StatusFailed}},
		{AgentIDs: []string{"geo_audit", "geo_audit"}},
		{Types: []string{"agent_status_update"}},
		{Types: []string{"agent_status"}},
		{Types: []string{event.StreamWorkflowProgressUpdate, "error_notification"}},
		{Types: []string{"other"}, WorkspaceID: "ws_b"},
		{Sources: []string{"ga4"}},
		{Sources: []string{event.SourceGateway}, WebhooksOnly: true},
		{MinPriority: event.PriorityLow},
		{MinPriority: event.PriorityMedium},
		{MinPriority: event.PriorityHigh},
		{MinPriority: event.PriorityCritical, WorkspaceID: "ws_a"},
		{WorkspaceID: "ws_a", AgentIDs: []string{"geo_audit"}, Types: []string{"agent_status_update"}, Statuses: []event.Status{event.StatusRunning}, WebhooksOnly: true},
	} {
		t.Run(fmt.Sprintf("%+v", filter), func(t *testing.T) {
			g := *f
			g.T = t
			g.expect(events, filter, 50)
		})
	}
}

func testPages(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.mixed(130)
	f.commit(events...)
	filter := event.Filter{AgentIDs: Agents[:4]}
	for _, limit := range []int{0, 1, 2, 7, len(selected(events, filter)), len(selected(events, filter)) + 1, 1000} {
		f.expect(events, filter, limit)
		f.expect(events, event.Filter{}, limit)
	}
	// After need not be an event that the filter selects, nor one at all.
	for _, after := range []uint64{1, 2, 64, 65, events[129].Seq, events[129].Seq + 1, math.MaxUint64 - 1, math.MaxUint64} {
		var above, below []*event.Event
		for _, e := range selected(events, filter) {
			if e.Seq > after {
				above = append(above, e)
			}
			if e.Seq < after {
				below = append(below, e)
			}
		}
		f.sameAll(f.list(storage.Query{Filter: filter, After: after, Limit: 9, Ascending: true}), above)
		f.sameAll(f.list(storage.Query{Filter: filter, After: after, Limit: 9}), reversed(below))
	}
	// The last page says so: no page is empty just to say it.
	all := len(selected(events, filter))
	page, err := f.s.Query(t.Context(), storage.Query{Filter: filter, Limit: all})
	if f.must(err); page.Next != 0 {
		t.Fatalf("a page with everything says that %d is next", page.Next)
	}
}

// Committed events are listed immediately.
func testSeenAtOnce(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.mixed(40)
	for i := range events {
		f.commit(events[i])
		for _, filter := range []event.Filter{{}, {WorkspaceID: events[i].WorkspaceID, WorkflowIDs: []string{events[i].WorkflowID}}} {
			page, err := f.s.Query(t.Context(), storage.Query{Filter: filter, Limit: 1})
			if f.must(err); len(page.Events) != 1 || page.Events[0].Seq != events[i].Seq {
				t.Fatalf("event %d is not the newest of %+v: %v", events[i].Seq, filter, seqs(page.Events))
			}
		}
	}
	f.expect(events, event.Filter{WorkspaceID: "ws_a"}, 10)
}

func testDates(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(300, func(i int, e *event.Event) { e.ReceivedAt = epoch.Add(time.Duration(i) * time.Minute) })
	f.commit(events...)
	at := func(i int, d time.Duration) time.Time { return events[i].ReceivedAt.Add(d) }
	for _, r := range [][2]time.Time{
		{at(100, 0), at(200, 0)},
		{at(100, 1), at(200, -1)},
		{at(100, 0), at(100, 0)},
		{at(100, 1), at(100, 2)},
		{{}, at(50, 0)},
		{at(250, 0), {}},
		{at(200, 0), at(100, 0)},
		{time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		{time.Date(9998, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		{{}, time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)},
		{at(100, 0).In(time.FixedZone("", 7200)), {}},
	} {
		f.expect(events, event.Filter{Since: r[0], Until: r[1]}, 33)
		f.expect(events, event.Filter{Since: r[0], Until: r[1], AgentIDs: Agents[:3], Types: []string{"agent_status_update"}}, 33)
	}
}

func testClockGoesBack(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(400, func(i int, e *event.Event) {
		e.ReceivedAt = epoch.Add(time.Duration(i%100) * time.Minute)
		if i%100 > 50 {
			e.ReceivedAt = epoch.Add(-time.Duration(i) * time.Hour)
		}
	})
	for i := 0; i < len(events); i += 100 {
		f.commit(events[i : i+100]...)
	}
	for _, r := range [][2]time.Duration{{0, time.Hour}, {-400 * time.Hour, -200 * time.Hour}, {-80 * time.Hour, 30 * time.Minute}, {time.Hour, 2 * time.Hour}} {
		f.expect(events, event.Filter{Since: epoch.Add(r[0]), Until: epoch.Add(r[1])}, 21)
		f.expect(events, event.Filter{Since: epoch.Add(r[0]), Until: epoch.Add(r[1]), AgentIDs: Agents[2:6]}, 21)
	}
}

func testManyValues(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(200, func(i int, e *event.Event) { e.WorkflowID = fmt.Sprintf("wf_%03d", i) })
	f.commit(events...)
	var ids []string
	for i := 0; i < 400; i += 3 {
		ids = append(ids, fmt.Sprintf("wf_%03d", i))
	}
	f.expect(events, event.Filter{WorkflowIDs: ids}, 10)
	f.expect(events, event.Filter{WorkflowIDs: ids, AgentIDs: append(Agents[:6:6], ids...), WorkspaceID: "ws_main"}, 10)
}

func testWorkspacesAreApart(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(120, func(i int, e *event.Event) { e.WorkspaceID, e.AgentID = fmt.Sprintf("ws_%02d", i%40), "geo_audit" })
	f.commit(events...)
	for _, ws := range []string{"ws_00", "ws_39", "ws_3", ""} {
		f.expect(events, event.Filter{WorkspaceID: ws, AgentIDs: []string{"geo_audit"}}, 4)
		f.expect(events, event.Filter{WorkspaceID: ws}, 4)
	}
}

func testOddBatches(t *testing.T, open Opener) {
	f := start(t, open)
	var events []*event.Event
	for step := 1; len(events) < 5000; step = step*3%200 + 1 {
		batch := f.events(step, nil)
		f.commit(batch...)
		events = append(events, batch...)
		if len(events)%1000 < 60 {
			f.reopen()
		}
	}
	f.expect(events, event.Filter{AgentIDs: Agents[:1], Statuses: []event.Status{event.StatusCompleted}}, 100)
	f.expect(events, event.Filter{WorkflowIDs: []string{events[2500].WorkflowID}}, 100)
	if got := f.list(storage.Query{Limit: 500}); len(got) != len(events) {
		t.Fatalf("%d events of %d", len(got), len(events))
	}
}

func testAcrossManyDayRanges(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(6000, func(i int, e *event.Event) {
		e.ReceivedAt, e.Body = epoch.Add(time.Duration(i)*time.Minute), []byte("{}")
		if i%1500 == 7 {
			e.AgentID = "rare"
		}
	})
	for i := 0; i < len(events); i += 200 {
		f.commit(events[i : i+200]...)
	}
	for _, filter := range []event.Filter{
		{AgentIDs: []string{"rare"}},
		{AgentIDs: []string{"rare"}, Since: events[1600].ReceivedAt, Until: events[4600].ReceivedAt},
		{Since: events[2040].ReceivedAt, Until: events[2050].ReceivedAt},
		{Since: events[5990].ReceivedAt},
		{Until: events[3].ReceivedAt, AgentIDs: Agents},
		{AgentIDs: []string{"rare"}, Statuses: []event.Status{event.StatusTimeout}},
	} {
		f.expect(events, filter, 5)
	}
}
