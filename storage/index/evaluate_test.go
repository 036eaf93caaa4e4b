package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

func term(i int) event.Term {
	return event.Term{Field: event.FieldWorkflow, Value: fmt.Sprintf("workflow %d", i)}
}

// Hashes are kept in files: they never change.
func TestHashesAreAsTheyWere(t *testing.T) {
	long := event.Term{Field: event.FieldType, Value: string(storagetest.Filler(1, 1000))}
	e := &event.Event{WorkspaceID: "ws", Source: "opal", DedupKey: event.DedupKey("a")}
	far := &event.Event{WorkspaceID: long.Value, Source: "opal", DedupKey: event.DedupKey("a")}
	for i, c := range []struct{ got, want uint64 }{
		{Seed(1).Term(term(1)), 0x872c28fe4482f39},
		{Seed(2).Term(term(1)), 0xde6708fee4383c89},
		{Seed(1).Term(long), 0x931a8cd9c3267dc7},
		{Seed(1).Key(e), 0x2975e644cc43e281},
		{Seed(1).Key(far), 0xf5bbf23f4c32368e},
	} {
		if c.got != c.want {
			t.Errorf("%d: %#x, want %#x", i, c.got, c.want)
		}
	}
}

// Lengths around that of the buffer hash alike in one piece and in steps, and no
// two values hash alike.
func TestHashesDiffer(t *testing.T) {
	seen := make(map[uint64]string)
	add := func(h uint64, what string) {
		if other, ok := seen[h]; ok {
			t.Fatalf("%s and %s have one hash", what, other)
		}
		seen[h] = what
	}
	x := string(bytes.Repeat([]byte{'x'}, 400))
	for n := range 400 {
		// The bytes that are hashed, put together at once.
		whole := append(binary.LittleEndian.AppendUint64(nil, 1), 'w')
		if h := xxhash.Sum64(append(whole, x[:n]...)); h != Seed(1).Term(event.Term{Field: 'w', Value: x[:n]}) {
			t.Fatalf("%d bytes hash otherwise in steps", n)
		}
		add(Seed(1).Term(event.Term{Field: 'w', Value: x[:n]}), fmt.Sprint("term ", n))
		add(Seed(1).Term(event.Term{Field: 'g', Value: x[:n]}), fmt.Sprint("agent ", n))
		add(Seed(1).Key(&event.Event{WorkspaceID: x[:n], Source: x[n:]}), fmt.Sprint("key ", n))
	}
}

func drawFilter(t *rapid.T, events []*event.Event) event.Filter {
	var f event.Filter
	pick := func(label string, of func(*event.Event) string) []string {
		var out []string
		for range max(0, rapid.IntRange(-4, 3).Draw(t, label)) {
			out = append(out, of(events[rapid.IntRange(0, len(events)-1).Draw(t, label+" of")]))
		}
		return out
	}
	f.WorkspaceID = rapid.SampledFrom([]string{"", "ws_main", "ws_other", "ws_none"}).Draw(t, "workspace")
	f.WorkflowIDs = pick("workflow", func(e *event.Event) string { return e.WorkflowID })
	f.AgentIDs = pick("agent", func(e *event.Event) string { return e.AgentID })
	f.Types = pick("type", func(e *event.Event) string { return e.Type })
	f.Sources = pick("source", func(e *event.Event) string { return e.Source })
	for _, s := range pick("status", func(e *event.Event) string { return string(e.Status) }) {
		f.Statuses = append(f.Statuses, event.Status(s))
	}
	f.MinPriority = event.Priority(rapid.IntRange(0, 4).Draw(t, "priority"))
	f.WebhooksOnly = rapid.Bool().Draw(t, "webhooks")
	return f
}

// What a filter selects is what it matches, in memory and in a file.
func TestSelectAgreesWithMatches(t *testing.T) {
	events := generate(7000)
	m := NewMemTable()
	for i, e := range events {
		if i%5 == 0 {
			e.WorkspaceID = "ws_other"
		}
		if i%7 == 0 {
			e.Source = event.SourceGateway
		}
		m.AddEvent(3, e, uint16(i))
	}
	b := writeTable(t, m, 1)
	r := openTable(t, b)
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t, events)
		count := rapid.SampledFrom([]int{0, 1, 100, len(events)}).Draw(t, "count")
		var want []uint16
		for i, e := range events[:count] {
			if f.Matches(e) {
				want = append(want, uint16(i))
			}
		}
		for _, src := range []Source{m, r} {
			got, err := Evaluate(src, 3, &f, count)
			if err != nil || !slices.Equal(collect(got), want) {
				t.Fatalf("%T: %d events, want %d: %v", src, got.Len(), len(want), err)
			}
		}
	})
}

func TestSelectUnitesManyTerms(t *testing.T) {
	m := NewMemTable()
	var f event.Filter
	for pos := range 5000 {
		id := fmt.Sprint("run ", pos/10)
		m.AddEvent(1, &event.Event{WorkflowID: id}, uint16(pos))
		if pos%10 == 0 && pos >= 2000 {
			f.WorkflowIDs = append(f.WorkflowIDs, id)
		}
	}
	got, err := Evaluate(m, 1, &f, 4000)
	if err != nil || !slices.Equal(collect(got), collect(RangeSet(2000, 4000))) {
		t.Fatal(got.Len(), err)
	}
}

type failing struct{}

func (failing) Get(uint64) (Set, bool, error) { return Set{}, false, storage.ErrDamaged }

func TestSelectPassesErrorsOn(t *testing.T) {
	if _, err := Evaluate(failing{}, 1, &event.Filter{Sources: []string{"a"}}, 9); !errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
}
