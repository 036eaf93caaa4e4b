package storagetest

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// model is the expected contents of a store.
type model struct {
	t    *testing.T
	open Opener
	dir  string
	s    storage.Store

	events  []*event.Event // The committed events, with their bodies.
	ever    []*event.Event // All events, including pruned ones.
	last    uint64
	pruned  uint64 // The last pruned event.
	cursor  uint64 // of the projection
	records map[string]string
	docs    map[[2]string]storage.Document
	version uint64 // the highest seen
}

// testModel compares a store with the model under random operations.
func testModel(t *testing.T, open Opener) {
	// Every check opens stores on disk, so there are fewer than rapid's default
	// of 100.
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "model")
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{t: t, open: open, dir: dir, docs: map[[2]string]storage.Document{}, records: map[string]string{}}
		if m.s, err = open(t, dir); err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := errors.Join(m.s.Close(), os.RemoveAll(dir)); err != nil {
				rt.Error(err)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"commit":  m.commit,
			"project": m.project,
			"query":   m.query,
			"prune":   m.prune,
			"put":     m.put,
			"delete":  m.delete,
			"list":    m.list,
			"records": m.listRecords,
			"get":     m.get,
			"reopen":  m.reopen,
		})
	})
}

func must(rt *rapid.T, err error) {
	if err != nil {
		rt.Fatal(err)
	}
}

var (
	someWorkspaces = []string{"ws_a", "ws_b", "ws_\x00"}
	someAgents     = []string{"", "geo_audit", "Geo_Audit", "content_review", "оператор"}
	someWorkflows  = []string{"wf_1", "wf_2", "wf_3", "wf"}
	someTypes      = []string{"", "agent_status_update", "workflow_progress", "failed", "error_notification", "custom", "agent_status"}
	someSources    = []string{"opal", "ga4", event.SourceGateway}
	someStatuses   = []event.Status{"", event.StatusRunning, event.StatusCompleted}
	someSeverities = []string{"", "low", "high", "urgent"}
)

func draw[T any](rt *rapid.T, label string, from []T) T {
	return rapid.SampledFrom(from).Draw(rt, label)
}

func drawEvent(rt *rapid.T) *event.Event {
	e := &event.Event{
		ReceivedAt:  epoch.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "minute")) * time.Minute),
		LoggedAt:    epoch.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "logged")) * time.Minute),
		WorkspaceID: draw(rt, "workspace", someWorkspaces), AgentID: draw(rt, "agent", someAgents),
		WorkflowID: draw(rt, "workflow", someWorkflows), Type: draw(rt, "type", someTypes),
		Source: draw(rt, "source", someSources), Status: draw(rt, "status", someStatuses),
		Severity: draw(rt, "severity", someSeverities), ReplayOf: draw(rt, "replay", []uint64{0, 0, 3}),
	}
	e.Kind, _ = event.KindOf(e.Type)
	e.Body = fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 3).Draw(rt, "body"))
	if rapid.IntRange(0, 30).Draw(rt, "size") == 0 {
		e.Body = Filler(1, rapid.IntRange(0, 600<<10).Draw(rt, "length"))
	}
	Seal(e)
	e.DedupKey = event.DedupKey(fmt.Sprint(rapid.IntRange(0, 400).Draw(rt, "key")))
	return e
}

func identityOf(e *event.Event) [4]string {
	return [4]string{e.WorkspaceID, e.Source, e.DedupKey.String(), e.BodyDigest.String()}
}

func (m *model) commit(rt *rapid.T) {
	var batch, bodies []*event.Event
	seen := map[[4]string]bool{}
	size := 0
	for range rapid.IntRange(1, 40).Draw(rt, "n") {
		e := drawEvent(rt)
		if seen[identityOf(e)] || len(batch) > 0 && size+len(e.Body) > storage.MaxBatchBytes {
			continue
		}
		seen[identityOf(e)] = true
		c := *e // as it comes, with its body
		if rapid.Bool().Draw(rt, "prepare") {
			out, err := m.s.Prepare(rt.Context(), e)
			must(rt, err)
			if original, _ := m.original(e); (original != nil) != out.Duplicate || original != nil && out.Seq != original.Seq {
				rt.Fatalf("prepared %+v, the log holds %+v", out, original)
			}
			if rapid.IntRange(0, 3).Draw(rt, "leave") == 0 {
				continue
			}
		}
		size += len(e.Body)
		batch, bodies = append(batch, e), append(bodies, &c)
	}
	done, err := m.s.CommitBatch(rt.Context(), batch)
	must(rt, err)
	if done.Before != m.last {
		rt.Fatalf("committed after %d, the last one was %d", done.Before, m.last)
	}
	out := done.Outcomes
	for i, e := range batch {
		original, sameKey := m.original(e)
		if original != nil {
			if out[i] != (storage.Outcome{Seq: original.Seq, Duplicate: true}) {
				rt.Fatalf("duplicate of %d: %+v", original.Seq, out[i])
			}
			continue
		}
		if out[i].Duplicate || out[i].Seq <= m.last || e.Seq != out[i].Seq || e.PayloadMismatch != (sameKey != nil) {
			rt.Fatalf("outcome %+v, seq %d, mismatch %v after %d", out[i], e.Seq, e.PayloadMismatch, m.last)
		}
		m.last = e.Seq
		kept := bodies[i]
		kept.Seq, kept.PayloadMismatch = e.Seq, e.PayloadMismatch
		m.events, m.ever = append(m.events, kept), append(m.ever, kept)
	}
}

// original returns the event in the log that e duplicates, and one with the
// same dedup key.
func (m *model) original(e *event.Event) (original, sameKey *event.Event) {
	for _, k := range m.events {
		if k.WorkspaceID == e.WorkspaceID && k.Source == e.Source && k.DedupKey == e.DedupKey {
			sameKey = k
			if k.BodyDigest == e.BodyDigest {
				original = k
			}
		}
	}
	return original, sameKey
}

func subset[T any](rt *rapid.T, label string, from []T) []T {
	if rapid.IntRange(0, 2).Draw(rt, label+"?") > 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(from), 1, 3).Draw(rt, label)
}

func drawFilter(rt *rapid.T) event.Filter {
	f := event.Filter{
		WorkspaceID: draw(rt, "in", append(someWorkspaces, "", "", "ws_none")),
		WorkflowIDs: subset(rt, "workflows", someWorkflows), AgentIDs: subset(rt, "agents", someAgents[1:]),
		Types: subset(rt, "types", append(someTypes[1:], event.StreamWorkflowProgressUpdate, "other")), Statuses: subset(rt, "statuses", someStatuses[1:]),
		Sources: subset(rt, "sources", someSources), WebhooksOnly: rapid.Bool().Draw(rt, "webhooks"),
		MinPriority: draw(rt, "priority", []event.Priority{0, 0, event.PriorityMedium, event.PriorityCritical}),
	}
	if rapid.Bool().Draw(rt, "since?") {
		f.Since = epoch.Add(time.Duration(rapid.IntRange(-10, 110).Draw(rt, "since")) * time.Minute)
	}
	if rapid.Bool().Draw(rt, "until?") {
		f.Until = epoch.Add(time.Duration(rapid.IntRange(-10, 110).Draw(rt, "until")) * time.Minute)
	}
	return f
}

func (m *model) query(rt *rapid.T) {
	q := storage.Query{Filter: drawFilter(rt), Ascending: rapid.Bool().Draw(rt, "ascending"), Limit: rapid.IntRange(1, 20).Draw(rt, "limit")}
	if rapid.Bool().Draw(rt, "after?") {
		q.After = rapid.Uint64Range(0, m.last+2).Draw(rt, "after")
	}
	var want []uint64
	for _, e := range m.events {
		if q.Filter.Matches(e) && (q.After == 0 || e.Seq != q.After && (e.Seq > q.After) == q.Ascending) {
			want = append(want, e.Seq)
		}
	}
	if !q.Ascending {
		slices.Reverse(want)
	}
	var got []uint64
	for {
		page, err := m.s.Query(rt.Context(), q)
		must(rt, err)
		got = append(got, seqs(page.Events)...)
		if page.Next == 0 {
			break
		}
		if len(page.Events) == 0 && page.Next == q.After || len(page.Events) > q.Limit {
			rt.Fatalf("page of %d after %d, next %d", len(page.Events), q.After, page.Next)
		}
		q.After = page.Next
	}
	if diff := seqDiff(got, want); diff != "" {
		rt.Fatalf("query %+v: %s", q, diff)
	}
}

func (m *model) prune(rt *rapid.T) {
	before := epoch.Add(time.Duration(rapid.IntRange(0, 130).Draw(rt, "before")) * time.Minute)
	want := 0
	for i, e := range m.events {
		if e.LoggedAt.Before(before) {
			want = i + 1
		}
	}
	n, err := m.s.Prune(rt.Context(), before)
	must(rt, err)
	if n != want {
		rt.Fatalf("pruned %d events, want %d", n, want)
	}
	if n > 0 {
		m.pruned = m.events[n-1].Seq
	}
	m.events = m.events[n:]
}

func (m *model) drawDocument(rt *rapid.T) storage.Document {
	return storage.Document{
		Collection: draw(rt, "collection", []string{"a", "ab"}), Key: draw(rt, "key", []string{"k", "k1", "k/1", "\x00"}),
		Value: []byte(draw(rt, "value", []string{"", "x", "longer"})), Version: storage.AnyVersion,
	}
}

func (m *model) wrote(rt *rapid.T, d storage.Document, version uint64) {
	if version <= m.version {
		rt.Fatalf("document got version %d after %d", version, m.version)
	}
	m.version, d.Version = version, version
	m.docs[[2]string{d.Collection, d.Key}] = d
}

func (m *model) put(rt *rapid.T) {
	d := m.drawDocument(rt)
	current := m.docs[[2]string{d.Collection, d.Key}].Version
	d.Version = draw(rt, "version", []uint64{current, current, 0, current + 1, storage.AnyVersion})
	version, err := m.s.PutDocument(rt.Context(), d)
	if d.Version != current && d.Version != storage.AnyVersion {
		if !errors.Is(err, storage.ErrConflict) {
			rt.Fatalf("put at %d over %d: %v", d.Version, current, err)
		}
		return
	}
	must(rt, err)
	m.wrote(rt, d, version)
}

func (m *model) delete(rt *rapid.T) {
	d := m.drawDocument(rt)
	id := [2]string{d.Collection, d.Key}
	current := m.docs[id].Version
	version := draw(rt, "version", []uint64{current, current + 1, storage.AnyVersion})
	err := m.s.DeleteDocument(rt.Context(), d.Collection, d.Key, version)
	switch {
	case current == 0:
		if !errors.Is(err, storage.ErrNotFound) {
			rt.Fatalf("delete of nothing: %v", err)
		}
	case version == current+1:
		if !errors.Is(err, storage.ErrConflict) {
			rt.Fatalf("delete at %d of %d: %v", version, current, err)
		}
	default:
		must(rt, err)
		delete(m.docs, id)
	}
}

func (m *model) list(rt *rapid.T) {
	collection, prefix := draw(rt, "collection", []string{"a", "ab"}), draw(rt, "prefix", []string{"", "k", "k/"})
	after, limit := draw(rt, "after", []string{"", "k", "k0"}), rapid.IntRange(1, 4).Draw(rt, "limit")
	var want []string
	for id := range m.docs {
		if id[0] == collection && len(id[1]) >= len(prefix) && id[1][:len(prefix)] == prefix && (after == "" || id[1] > after) {
			want = append(want, id[1])
		}
	}
	slices.Sort(want)
	want = want[:min(limit, len(want))]
	docs, err := m.s.ListDocuments(rt.Context(), collection, prefix, after, limit)
	must(rt, err)
	var got []string
	for _, d := range docs {
		got = append(got, d.Key)
		if w := m.docs[[2]string{d.Collection, d.Key}]; w.Version != d.Version || string(w.Value) != string(d.Value) {
			rt.Fatalf("document %+v, want %+v", d, w)
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("list: %q, want %q", got, want)
	}
}

func (m *model) get(rt *rapid.T) {
	if len(m.ever) == 0 {
		rt.Skip("no events yet")
	}
	want := draw(rt, "event", m.ever)
	got, err := m.s.Get(rt.Context(), want.Seq)
	if len(m.events) == 0 || want.Seq < m.events[0].Seq {
		if !errors.Is(err, storage.ErrNotFound) {
			rt.Fatalf("event %d was pruned: %v", want.Seq, err)
		}
		return
	}
	must(rt, err)
	if got.Seq != want.Seq || string(got.Body) != string(want.Body) || got.DedupKey != want.DedupKey || !got.ReceivedAt.Equal(want.ReceivedAt) {
		rt.Fatalf("event %+v, want %+v", got.WithoutBody(), want.WithoutBody())
	}
}

func (m *model) reopen(rt *rapid.T) {
	must(rt, m.s.Close())
	s, err := m.open(m.t, m.dir)
	must(rt, err)
	m.s = s
}

// check runs after every step.
func (m *model) check(rt *rapid.T) {
	b, err := m.s.Bounds(rt.Context())
	must(rt, err)
	switch {
	case b.Last != m.last:
		rt.Fatalf("the last one is %d, want %d", b.Last, m.last)
	case m.last == 0 && b.First != 0, len(m.events) == 0 && m.last > 0 && b.First <= b.Last, m.last > 0 && b.First <= m.pruned,
		len(m.events) > 0 && b.First > m.events[0].Seq:
		rt.Fatalf("bounds %+v, %d events after %d", b, len(m.events), m.pruned)
	}
	var got []uint64
	must(rt, m.s.Scan(rt.Context(), 0, math.MaxUint64, func(e *event.Event) bool {
		got = append(got, e.Seq)
		return true
	}))
	if diff := seqDiff(got, seqs(m.events)); diff != "" {
		rt.Fatal("the log: " + diff)
	}
}
