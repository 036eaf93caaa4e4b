package descriptors

import (
	"testing"

	"pgregory.net/rapid"
)

func TestShares(t *testing.T) {
	for limit, want := range map[int]Budget{
		0:     {Files: 96},
		64:    {Limit: 64, Files: 8, Spare: 112, Highest: 27, Connections: 16},
		256:   {Limit: 256, Files: 32, Spare: 136, Highest: 211, Connections: 120},
		1024:  {Limit: 1024, Files: 96, Spare: 200, Highest: 958, Connections: 824},
		65536: {Limit: 65536, Files: 96, Spare: 200, Highest: 65470, Connections: 65336},
	} {
		if got := BudgetFor(limit); got != want {
			t.Errorf("%d: %+v, want %+v", limit, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<30).Draw(t, "connections")
		if b := BudgetFor(Needed(n)); b.Connections < n || !b.Enough() {
			t.Fatalf("%d connections: %+v", n, b)
		}
		limit := rapid.IntRange(1, 1<<30).Draw(t, "limit")
		if b := BudgetFor(limit); b.Enough() && b.Connections+b.Spare > limit {
			t.Fatalf("%d: %+v", limit, b)
		}
	})
	if b := Process(); b != BudgetFor(limit()) {
		t.Errorf("the process has another budget: %+v", b)
	}
}
