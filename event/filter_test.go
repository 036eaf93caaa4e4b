package event

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFilterMatches(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e := Event{
		ReceivedAt: at, WorkspaceID: "ws_a", Source: "opal", Type: "agent_completed", Kind: KindAgentStatus,
		WorkflowID: "strategy_workflow_1", WorkflowName: "strategy_workflow", AgentID: "Geo_Audit", Status: StatusCompleted, Severity: "urgent",
	}
	plain := Event{ReceivedAt: at, WorkspaceID: "ws_a", Source: "opal", Kind: KindOther, WorkflowID: "w"}
	made := plain
	made.Source = SourceGateway
	replay := e
	replay.ReplayOf = 3
	for _, c := range []struct {
		name  string
		f     Filter
		e     Event
		match bool
	}{
		{"empty", Filter{}, e, true},
		{"workspace", Filter{WorkspaceID: "ws_a"}, e, true},
		{"other workspace", Filter{WorkspaceID: "ws_b"}, e, false},
		{"workspace is no prefix", Filter{WorkspaceID: "ws_"}, e, false},
		{"workflow", Filter{WorkflowIDs: []string{"x", "strategy_workflow_1"}}, e, true},
		{"workflow ids keep their case", Filter{WorkflowIDs: []string{"Strategy_Workflow_1"}}, e, false},
		{"workflow name", Filter{WorkflowNames: []string{"strategy_workflow"}}, e, true},
		{"no workflow name", Filter{WorkflowNames: []string{"strategy_workflow"}}, plain, false},
		{"agent without case", Filter{AgentIDs: []string{"GEO_audit"}}, e, true},
		{"no agent", Filter{AgentIDs: []string{""}}, plain, false},
		{"raw type", Filter{Types: []string{"agent_completed"}}, e, true},
		{"kind", Filter{Types: []string{"agent_status"}}, e, true},
		{"stream name", Filter{Types: []string{StreamAgentStatusChange}}, e, true},
		{"other stream name", Filter{Types: []string{StreamErrorNotification}}, e, false},
		{"kind of what has no type", Filter{Types: []string{"other"}}, plain, true},
		{"type of the same kind", Filter{Types: []string{"agent_status_update"}}, e, false},
		{"status", Filter{Statuses: []Status{StatusFailed, StatusCompleted}}, e, true},
		{"no status", Filter{Statuses: []Status{StatusFailed, StatusCompleted}}, plain, false},
		{"source", Filter{Sources: []string{"opal"}}, e, true},
		{"priority at the bound", Filter{MinPriority: PriorityCritical}, e, true},
		{"without severity it is medium", Filter{MinPriority: PriorityMedium}, plain, true},
		{"and no more", Filter{MinPriority: PriorityHigh}, plain, false},
		{"webhooks only", Filter{WebhooksOnly: true}, e, true},
		{"webhooks only, made here", Filter{WebhooksOnly: true}, made, false},
		{"webhooks only, a replay", Filter{WebhooksOnly: true}, replay, false},
		{"since, inclusive", Filter{Since: at}, e, true},
		{"since, after", Filter{Since: at.Add(1)}, e, false},
		{"until, inclusive", Filter{Until: at.In(time.FixedZone("", 3600))}, e, true},
		{"until, before", Filter{Until: at.Add(-1)}, e, false},
		{"all fields hold", Filter{AgentIDs: []string{"geo_audit"}, Statuses: []Status{StatusCompleted}, Sources: []string{"opal"}}, e, true},
		{"one field does not", Filter{AgentIDs: []string{"geo_audit"}, Statuses: []Status{StatusCompleted}, Sources: []string{"ga4"}}, e, false},
	} {
		if got := c.f.Matches(&c.e); got != c.match {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func oneOf(t *rapid.T, label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

func someOf(t *rapid.T, label string, from ...string) []string {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, 3).Draw(t, label)
}

// Matches, which goes by terms, agrees with reading the fields one by one.
func TestFilterIsWhatItsFieldsSay(t *testing.T) {
	types := []string{"", "started", "agent_completed", "workflow_progress", "failed", "error_notification", "custom", TypeSystemHealthAlert}
	rapid.Check(t, func(t *rapid.T) {
		e := &Event{
			WorkspaceID: oneOf(t, "workspace", "a", "b"), Source: oneOf(t, "source", "opal", SourceGateway),
			Type: oneOf(t, "type", types...), WorkflowID: oneOf(t, "workflow", "w1", "w2"), WorkflowName: oneOf(t, "name", "", "n"),
			AgentID: oneOf(t, "agent", "", "X", "x", "y"), Status: Status(oneOf(t, "status", "", "running", "failed")),
			Severity: oneOf(t, "severity", "", "low", "high", "urgent", "odd"), ReplayOf: uint64(rapid.IntRange(0, 1).Draw(t, "replay")),
		}
		e.Kind, _ = KindOf(e.Type)
		f := Filter{
			WorkspaceID: oneOf(t, "in", "", "a"), WorkflowIDs: someOf(t, "workflows", "w1", "w3"), WorkflowNames: someOf(t, "names", "n"),
			AgentIDs: someOf(t, "agents", "x", "Y"), Sources: someOf(t, "sources", "opal", SourceGateway),
			Types:       someOf(t, "types", append(types[1:], "other", "agent_status", StreamWorkflowProgressUpdate, StreamErrorNotification)...),
			MinPriority: Priority(rapid.IntRange(0, 4).Draw(t, "priority")), WebhooksOnly: rapid.Bool().Draw(t, "webhooks"),
		}
		for _, s := range someOf(t, "statuses", "running", "failed") {
			f.Statuses = append(f.Statuses, Status(s))
		}
		in := func(values []string, v string) bool { return len(values) == 0 || v != "" && slices.Contains(values, v) }
		stream := e.StreamName()
		if stream == StreamSystemHealthAlert {
			stream = "" // its name is its type as well
		}
		typed := len(f.Types) == 0
		for _, name := range []string{e.Type, string(e.Kind), stream} {
			typed = typed || name != "" && slices.Contains(f.Types, name)
		}
		agents := strings.Split(strings.ToLower(strings.Join(f.AgentIDs, ",")), ",")
		want := (f.WorkspaceID == "" || f.WorkspaceID == e.WorkspaceID) && in(f.WorkflowIDs, e.WorkflowID) && in(f.WorkflowNames, e.WorkflowName) &&
			(len(f.AgentIDs) == 0 || e.AgentID != "" && slices.Contains(agents, strings.ToLower(e.AgentID))) &&
			in(f.Sources, e.Source) && typed && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, e.Status)) &&
			e.Priority() >= f.MinPriority && (!f.WebhooksOnly || e.IsWebhook())
		if got := f.Matches(e); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// An event has at most one value a field, and the hub counts on nine fields.
func TestTermsAreOneAField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms := drawEvent(t).AppendTerms(nil)
		seen := map[Field]bool{}
		for _, term := range terms {
			if seen[term.Field] {
				t.Fatalf("two values of %q in %v", term.Field, terms)
			}
			seen[term.Field] = true
		}
		if len(terms) > 9 {
			t.Fatalf("%d terms", len(terms))
		}
	})
}
