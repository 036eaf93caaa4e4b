package storagetest

import (
	"errors"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/storage"
)

var modelProjection = storage.Projection{Name: "model", Version: 1}

func (m *model) project(rt *rapid.T) {
	step := storage.Step{Projection: modelProjection, From: m.cursor, Through: m.cursor + uint64(rapid.IntRange(0, 9).Draw(rt, "through"))}
	if wrong := rapid.IntRange(0, 4).Draw(rt, "wrong") == 0; wrong {
		step.From++
	}
	for range rapid.IntRange(0, 3).Draw(rt, "records") {
		r := storage.Record{Key: draw(rt, "key", []string{"k", "k1", "k/1", "\x00"})}
		if value := draw(rt, "value", []string{"", "x", "longer"}); value != "" {
			r.Value = []byte(value)
		}
		step.Records = append(step.Records, r)
	}
	err := m.s.Project(rt.Context(), step)
	if step.From != m.cursor {
		if !errors.Is(err, storage.ErrConflict) {
			rt.Fatalf("project from %d, the cursor is at %d: %v", step.From, m.cursor, err)
		}
		return
	}
	must(rt, err)
	m.cursor = step.Through
	for _, r := range step.Records {
		if delete(m.records, r.Key); r.Value != nil {
			m.records[r.Key] = string(r.Value)
		}
	}
}

func (m *model) listRecords(rt *rapid.T) {
	prefix, after := draw(rt, "prefix", []string{"", "k", "k/"}), draw(rt, "after", []string{"", "k", "k0"})
	limit := rapid.IntRange(1, 4).Draw(rt, "limit")
	var want []string
	for key := range m.records {
		if strings.HasPrefix(key, prefix) && (after == "" || key > after) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	want = want[:min(limit, len(want))]
	records, cursor, err := m.s.ListRecords(rt.Context(), modelProjection, prefix, after, limit)
	must(rt, err)
	var got []string
	for _, r := range records {
		if got = append(got, r.Key); string(r.Value) != m.records[r.Key] {
			rt.Fatalf("record %q is %q, want %q", r.Key, r.Value, m.records[r.Key])
		}
	}
	if !slices.Equal(got, want) || cursor != m.cursor {
		rt.Fatalf("list: %q at %d, want %q at %d", got, cursor, want, m.cursor)
	}
}
