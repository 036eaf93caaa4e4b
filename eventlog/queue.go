package eventlog

import (
	"sync"
	"sync/atomic"

	"github.com/osa-edge/osa-gateway/event"
)

// queue holds the events that wait for a commit, in their order.
type queue struct {
	mu          sync.Mutex
	first, last *pending
	events      atomic.Int64
	bytes       atomic.Int64 // that the events hold in memory
	ready       chan struct{}

	awaited atomic.Int64 // how long a queue the committer waits for; 0: it does not
	arrived chan struct{}
}

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1), arrived: make(chan struct{}, 1)}
}

func (q *queue) len() int { return int(q.events.Load()) }

// full reports whether nothing more may wait. One event alone may be larger than
// all that may.
func (q *queue) full(s *Settings) bool {
	return q.len() >= s.QueueEvents || q.bytes.Load() >= s.QueueBytes
}

// push adds an event, or reports false where the settings do not let it wait.
func (q *queue) push(p *pending, s *Settings) bool {
	q.mu.Lock()
	if held := q.bytes.Load(); q.len() >= s.QueueEvents || (held > 0 && held+p.size > s.QueueBytes) {
		q.mu.Unlock()
		return false
	}
	p.next = nil
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	q.bytes.Add(p.size)
	n := q.events.Add(1)
	q.mu.Unlock()

	if n == 1 {
		signal(q.ready)
	}
	if awaited := q.awaited.Load(); awaited > 0 && n >= awaited {
		signal(q.arrived)
	}
	return true
}

// pop takes the oldest event if it holds no more than room bytes.
func (q *queue) pop(room int64) *pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.first
	if p == nil || p.size > room {
		return nil
	}
	if q.first = p.next; q.first == nil {
		q.last = nil
	}
	p.next = nil
	q.events.Add(-1)
	q.bytes.Add(-p.size)
	return p
}

// signal leaves a token that says that something has changed, if there is none.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// held is what an event holds in memory: its body, unless it was put aside, and
// those of its strings that can be long.
func held(e *event.Event) int64 {
	n := len(e.Body) + len(e.ErrorMessage) + len(e.WorkflowID) + len(e.AgentID) + len(e.Type) + len(e.CorrelationID)
	for _, a := range e.Details.AffectedAgents {
		n += len(a)
	}
	return int64(n)
}
