package soak

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
)

// mix makes bodies of mixed sizes: most of 1 KB, one of 15 of 4 KB, one of 400
// of 100 KB, now and then several MB; one of 50 reports an error.
type mix struct {
	mu                         sync.Mutex
	n, huge                    int
	rng                        *rand.Rand
	small, middle, large, vast *load.Events
	seed                       uint64
}

// newMix makes bodies that no mix with another seed makes. One of huge has
// several MB.
func newMix(seed uint64, huge int) *mix {
	return &mix{
		huge: huge, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)),
		small: load.NewEvents(1024, 4*seed), middle: load.NewEvents(4<<10, 4*seed+1),
		large: load.NewEvents(100_000, 4*seed+2), vast: load.NewEvents(3_000_000, 4*seed+3),
	}
}

// Append appends the next body.
func (m *mix) Append(dst []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	switch {
	case m.n%m.huge == m.huge/2:
		return m.vast.Append(dst)
	case m.n%50 == 0:
		return fmt.Appendf(dst, `{"event_type":"error_notification","timestamp":%q,"workflow_id":"strategy_workflow-e%d-%d","agent_id":"geo_audit",`+
			`"severity":%q,"data":{"error_notification":{"error_type":"upstream","message":"an audit of attempt %d did not end"}}}`,
			time.Now().UTC().Format(time.RFC3339Nano), m.seed, m.n/200, [...]string{"low", "medium", "high", "critical"}[m.rng.IntN(4)], m.n)
	}
	switch m.rng.IntN(400) {
	case 0:
		return m.large.Append(dst)
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26:
		return m.middle.Append(dst)
	}
	return m.small.Append(dst)
}

// hash is the beginning of the dedup hash that the API guide asks for, written
// down independently.
func hash(body []byte) string {
	key := fmt.Sprintf(`{"workflow_id":%q,`, member(body, "workflow_id"))
	if agent := member(body, "agent_id"); agent != "" {
		key += fmt.Sprintf(`"agent_id":%q,`, agent)
	}
	key += fmt.Sprintf(`"timestamp":%q,"event_type":%q}`, member(body, "timestamp"), member(body, "event_type"))
	return fmt.Sprintf("%x", sha256.Sum256([]byte(key)))[:16]
}

// member is a string that stands near the beginning of a body.
func member(body []byte, name string) string {
	head := body[:min(len(body), 300)]
	_, rest, ok := bytes.Cut(head, []byte(`"`+name+`":"`))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}
