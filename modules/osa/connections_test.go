package osa

import (
	"testing"

	"github.com/osa-edge/osa-gateway/internal/descriptors"
	"github.com/osa-edge/osa-gateway/internal/memory"
)

func TestConnectionLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		wanted      int
		descriptors descriptors.Budget
		memory      int64
		limit       int
		by          string
	}{
		"configured":                {100, descriptors.Budget{Limit: 1024, Connections: 800}, 1 << 30, 100, "max_connections"},
		"more than descriptors":     {1000, descriptors.Budget{Limit: 1024, Connections: 800}, 1 << 30, 800, "descriptors"},
		"a quarter of the memory":   {0, descriptors.Budget{Limit: 1 << 20, Connections: 1 << 20}, 64 << 20, 1024, "memory"},
		"memory, few descriptors":   {0, descriptors.Budget{Limit: 1024, Connections: 800}, 1 << 30, 800, "descriptors"},
		"descriptors have no limit": {50, descriptors.Budget{}, 1 << 30, 50, "max_connections"},
	} {
		limit, by := connectionLimit(tt.wanted, tt.descriptors, memory.Budget{Limit: memory.Limit{Bytes: tt.memory}})
		if limit != tt.limit || by != tt.by {
			t.Errorf("%s: %d by %s, want %d by %s", name, limit, by, tt.limit, tt.by)
		}
	}
}
