package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
)

var (
	workspaces = rapid.SampledFrom([]string{"ws-a", "ws-b"})
	workflows  = rapid.SampledFrom([]string{"wf-1", "wf-2", "wf-3"})
	agents     = rapid.SampledFrom([]string{"", "Geo_Audit", "geo_audit", "roadmap_generator"})
	types      = rapid.SampledFrom([]string{"agent_status_update", "workflow_progress", "error_notification", "completed", "custom", ""})
	severities = rapid.SampledFrom([]string{"", "low", "medium", "high", "urgent"})
	sources    = rapid.SampledFrom([]string{"opal", "ga4", event.SourceGateway})
	minutes    = rapid.Map(rapid.IntRange(0, 9), func(n int) time.Time { return time.Date(2026, 3, 1, 12, n, 0, 0, time.UTC) })
)

func drawEvent(t *rapid.T) *event.Event {
	return &event.Event{
		WorkspaceID: workspaces.Draw(t, "workspace"), WorkflowID: workflows.Draw(t, "workflow"),
		AgentID: agents.Draw(t, "agent"), Type: types.Draw(t, "type"), Severity: severities.Draw(t, "severity"),
		Source: sources.Draw(t, "source"), ReceivedAt: minutes.Draw(t, "received"),
	}
}

func drawFilter(t *rapid.T) event.Filter {
	some := func(name string, of *rapid.Generator[string]) []string {
		return rapid.SliceOfN(of, 0, 2).Draw(t, name)
	}
	return event.Filter{
		WorkspaceID:  rapid.SampledFrom([]string{"", "ws-a", "ws-b", "ws-c"}).Draw(t, "filter workspace"),
		WorkflowIDs:  some("workflows", workflows),
		AgentIDs:     some("agents", rapid.SampledFrom([]string{"GEO_AUDIT", "roadmap_generator", "nobody"})),
		Types:        some("types", rapid.SampledFrom([]string{"agent_status", "agent_status_change", "agent_status_update", "error_notification", "custom"})),
		Sources:      some("sources", sources),
		MinPriority:  rapid.SampledFrom([]event.Priority{0, event.PriorityLow, event.PriorityHigh, event.PriorityCritical}).Draw(t, "priority"),
		WebhooksOnly: rapid.Bool().Draw(t, "webhooks only"),
		Since:        perhaps(t, "since"),
		Until:        perhaps(t, "until"),
	}
}

// perhaps draws a date of a filter; most have none.
func perhaps(t *rapid.T, name string) time.Time {
	if rapid.IntRange(0, 3).Draw(t, name+" given") > 0 {
		return time.Time{}
	}
	return minutes.Draw(t, name)
}

// client is a subscriber of the model: what it has, and what it asked for.
type client struct {
	filter event.Filter
	from   uint64 // the cursor that it first came with
	got    []uint64
	last   uint64 // of the last event it has
	sub    *Subscription
}

// TestEverySequenceEqualsTheFilteredLog publishes, connects, reads a little,
// disconnects and resumes at random, with a window so small that it is passed all
// the time. In the end everyone has what the log has, once and in its order.
func TestEverySequenceEqualsTheFilteredLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, stop := openWorld(t, Options{
			WindowRefs: rapid.IntRange(1, 30).Draw(t, "window"), WindowBytes: rapid.IntRange(500, 10_000).Draw(t, "bytes"),
		})
		defer stop()
		// From the indexes, which are behind, or from the log.
		w.hub.scanDistance = rapid.SampledFrom([]uint64{0, 10, scanDistance}).Draw(t, "scanned within")
		var (
			all     []*event.Event
			clients []*client
			b       Batch
		)
		read := func(c *client, size int) bool {
			err := c.sub.Poll(&b, size)
			if errors.Is(err, ErrBehind) {
				err = c.sub.Fetch(context.Background(), &b, size)
			}
			if err != nil {
				t.Fatalf("reading: %v", err)
			}
			n := len(b.Frames)
			if n > 0 {
				n = rapid.IntRange(0, n).Draw(t, "accepted")
			}
			for _, f := range b.Frames[:n] {
				c.take(t, f)
			}
			c.sub.Advance(&b, n)
			return len(b.Frames) > 0
		}
		connect := func(c *client, after uint64) {
			c.sub = w.subscribe(SubscribeOptions{Filter: c.filter, After: after, Wake: func() {}})
		}
		actions := map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					e := drawEvent(t)
					w.publish(e)
					all = append(all, e)
				}
			},
			"connect": func(t *rapid.T) {
				if len(clients) >= 6 {
					return
				}
				c := &client{filter: drawFilter(t), from: uint64(rapid.IntRange(0, len(all)).Draw(t, "from"))}
				c.last = c.from
				connect(c, c.from)
				clients = append(clients, c)
			},
			"read": func(t *rapid.T) {
				if len(clients) > 0 {
					read(rapid.SampledFrom(clients).Draw(t, "client"), rapid.IntRange(1, 5000).Draw(t, "size"))
				}
			},
			"resume": func(t *rapid.T) {
				if len(clients) > 0 {
					c := rapid.SampledFrom(clients).Draw(t, "client")
					c.sub.Close()
					connect(c, c.last)
				}
			},
		}
		t.Repeat(actions)

		w.settle()
		for i, c := range clients {
			for _, f := range w.take(c.sub) {
				c.take(t, []byte(f))
			}
			c.sub.Close()
			var want []uint64
			for _, e := range all {
				if e.Seq > c.from && c.filter.Matches(e) {
					want = append(want, e.Seq)
				}
			}
			if !slices.Equal(c.got, want) {
				t.Fatalf("client %d from %d with %+v\n got %v\nwant %v", i, c.from, c.filter, c.got, want)
			}
		}
		if s := w.hub.Stats(); s.Filters != 0 || s.WindowBytes != 0 || s.Behind != 0 {
			t.Fatalf("left over: %+v", s)
		}
	})
}

func (c *client) take(t *rapid.T, frame []byte) {
	line, _, _ := strings.Cut(string(frame), "\n")
	seq, err := event.ParseID(strings.TrimPrefix(line, "id: "))
	if err != nil {
		t.Fatalf("%q: %v", frame, err)
	}
	c.got, c.last = append(c.got, seq), seq
}

// TestIndexAgreesWithTheFilter compares the index with the definition.
func TestIndexAgreesWithTheFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		var groups []*group
		for i := range rapid.IntRange(1, 30).Draw(t, "groups") {
			f := drawFilter(t)
			clauses, _ := canonical(&f)
			g := &group{key: fmt.Sprint(i), filter: f, clauses: clauses}
			x.add(g)
			groups = append(groups, g)
		}
		for i, g := range groups {
			if rapid.Bool().Draw(t, "remove") {
				x.remove(g)
				groups[i] = nil
			}
		}
		for seq := range uint64(10) {
			e := drawEvent(t)
			e.Seq = seq + 1
			if e.Source == "" {
				e.Source = "opal"
			}
			e.Kind, _ = event.KindOf(e.Type)
			terms := e.AppendTerms(nil)
			got := make(map[*group]int)
			for _, g := range x.match(nil, e, terms) {
				got[g]++
			}
			for _, g := range groups {
				if g == nil {
					continue
				}
				want := 0
				if g.filter.Matches(e) {
					want = 1
				}
				if got[g] != want || g.matchesAll(e, terms) != (want == 1) {
					t.Fatalf("filter %+v: matched %d times, want %d, by %+v", g.filter, got[g], want, e)
				}
				delete(got, g)
			}
			if len(got) > 0 {
				t.Fatalf("%d groups matched that had left", len(got))
			}
		}
	})
}

// TestMatchingLooksOnlyAtWhatMayMatch: an event for one of many filters does not
// cost what the others do, whichever field they differ in.
func TestMatchingLooksOnlyAtWhatMayMatch(t *testing.T) {
	for name, filter := range map[string]func(i int) event.Filter{
		"workflow": func(i int) event.Filter { return event.Filter{WorkflowIDs: []string{fmt.Sprint(i)}} },
		"agent in one workflow": func(i int) event.Filter {
			return event.Filter{WorkflowIDs: []string{"0"}, AgentIDs: []string{fmt.Sprint(i)}}
		},
		"workspace": func(i int) event.Filter { return event.Filter{WorkspaceID: fmt.Sprint(i)} },
		"type of one priority": func(i int) event.Filter {
			return event.Filter{Types: []string{fmt.Sprint(i)}, MinPriority: event.PriorityMedium}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var x index
			for i := range 1000 {
				f := filter(i)
				clauses, _ := canonical(&f)
				x.add(&group{filter: f, clauses: clauses})
			}
			e := &event.Event{Seq: 1, WorkspaceID: "0", WorkflowID: "0", AgentID: "0", Type: "0", Source: "opal"}
			terms := e.AppendTerms(nil)
			looked := 0
			for _, s := range []*workspaceIndex{x.workspaces["0"], x.workspaces[""]} {
				if s == nil {
					continue
				}
				looked += len(s.all)
				for _, term := range terms {
					looked += len(s.byTerm[term])
				}
			}
			if n := len(x.match(nil, e, terms)); n != 1 || looked > 3 {
				t.Errorf("matched %d, looked at %d", n, looked)
			}
		})
	}
}

// TestMatchedOnce: an event may have two terms of one clause, its type and its
// kind.
func TestMatchedOnce(t *testing.T) {
	var x index
	f := event.Filter{Types: []string{"agent_status_update", "agent_status_change"}}
	clauses, _ := canonical(&f)
	x.add(&group{filter: f, clauses: clauses})
	e := &event.Event{Seq: 1, Type: "agent_status_update", Kind: event.KindAgentStatus, WorkflowID: "w", Source: "opal"}
	if n := len(x.match(nil, e, e.AppendTerms(nil))); n != 1 {
		t.Errorf("matched %d times", n)
	}
}
