package faults

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// sent is an event that the load made. It is known outside the gateway by its
// dedup hash, which is unique among all events of the load.
type sent struct {
	n                                 int
	body                              []byte // dropped once acknowledged
	digest                            [32]byte
	hash                              string
	size                              int
	workflow, agent, eventType, state string
	seq                               uint64 // 0 until acknowledged
	read                              bool   // its body was read back and was right
}

var (
	agents = []string{
		"experiment_blueprinter", "audience_suggester", "content_review", "roadmap_generator", "integration_health",
		"personalization_idea_generator", "cmp_organizer", "customer_journey", "geo_audit",
	}
	types  = []string{"agent_status_update", "workflow_progress", "error_notification", "something_new"}
	states = []string{"running", "completed", "failed"}
)

// newEvent makes the n-th event with a body of about size bytes.
func newEvent(n, size int) *sent {
	s := &sent{
		n: n, workflow: fmt.Sprintf("strategy_workflow-%d", n%5), agent: agents[n%len(agents)],
		eventType: types[n%len(types)], state: states[n%len(states)],
	}
	timestamp := fmt.Sprintf("moment-%d", n)
	// What the API guide says the key is, written down independently.
	key := fmt.Sprintf(`{"workflow_id":%q,"agent_id":%q,"timestamp":%q,"event_type":%q}`, s.workflow, s.agent, timestamp, s.eventType)
	sum := sha256.Sum256([]byte(key))
	s.hash = hex.EncodeToString(sum[:])
	body := fmt.Sprintf(`{"workflow_id":%q,"agent_id":%q,"timestamp":%q,"event_type":%q,"status":%q,"data":{"n":%d,"pad":"`,
		s.workflow, s.agent, timestamp, s.eventType, s.state, n)
	s.body = []byte(body + strings.Repeat("x", max(0, size-len(body)-3)) + `"}}`)
	s.digest, s.size = sha256.Sum256(s.body), len(s.body)
	return s
}

// ledger is the memory of what was acknowledged, outside the gateway.
type ledger struct {
	mu     sync.Mutex
	byHash map[string]*sent
	bySeq  map[uint64]*sent
	wrong  []string // answers that contradict each other
}

func newLedger() *ledger {
	return &ledger{byHash: make(map[string]*sent), bySeq: make(map[uint64]*sent)}
}

// acknowledge takes down that the event was answered with that id. Whoever sent
// it last knows the highest id that was acknowledged before it was sent.
func (l *ledger) acknowledge(s *sent, seq, before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.seq != 0 && s.seq != seq {
		l.wrong = append(l.wrong, fmt.Sprintf("one event was answered with evt_%d and evt_%d", s.seq, seq))
	}
	if other := l.bySeq[seq]; other != nil && other != s {
		l.wrong = append(l.wrong, fmt.Sprintf("evt_%d was given to two events", seq))
	}
	if seq <= before {
		l.wrong = append(l.wrong, fmt.Sprintf("evt_%d was sent after evt_%d was acknowledged", seq, before))
	}
	s.seq, s.body = seq, nil
	l.byHash[s.hash], l.bySeq[seq] = s, s
}

// any is some acknowledged event with a small body.
func (l *ledger) any() *sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.bySeq {
		if s.size < 4096 {
			return s
		}
	}
	return nil
}

// again makes the body of an acknowledged event once more.
func (s *sent) again() []byte { return newEvent(s.n, s.size).body }

// answer is what the gateway says to a webhook.
type answer struct {
	Status    string `json:"status"`
	WebhookID string `json:"webhook_id"`
}

func parseAnswer(raw []byte) (a answer, seq uint64, err error) {
	if err = json.Unmarshal(raw, &a); err != nil {
		return a, 0, err
	}
	if a.Status != "processed" && a.Status != "duplicate" {
		return a, 0, fmt.Errorf("status %q", a.Status)
	}
	if _, err = fmt.Sscanf(a.WebhookID, "evt_%d", &seq); err != nil || seq == 0 {
		return a, 0, fmt.Errorf("webhook_id %q", a.WebhookID)
	}
	return a, seq, nil
}
