// Package connections counts the connections of HTTP servers and limits them.
// It knows the states of net/http's connections and nothing of requests.
package connections

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Reason is why a connection was closed.
type Reason int

// The reasons.
const (
	// NoRequest: it had not carried a request yet.
	NoRequest Reason = iota
	// Idle: it was waiting for the next request.
	Idle
	// Refused: it was the newest one, and all others were in use.
	Refused
	reasons
)

// String returns the reason's name in metrics.
func (r Reason) String() string { return [...]string{"no_request", "idle", "refused"}[r] }

// Reasons returns all reasons.
func Reasons() []Reason { return []Reason{NoRequest, Idle, Refused} }

// Set is the set of open connections of a process. State is the ConnState hook
// of all its servers.
//
// When the limit is exceeded, a connection is closed: one without a request,
// else an idle one, else the new one. So a client that only connects does not
// displace one that sends requests. The oldest connection is closed, preferably
// one of a source that has a quarter of them: a client that connects again and
// again closes its own connections.
type Set struct {
	limit   atomic.Int64
	highest func() int

	mu       sync.Mutex
	conns    map[net.Conn]*conn
	unused   *queue // Without a request yet.
	idle     *queue // Between two requests.
	hijacked []net.Conn
	forgetAt int

	closed [reasons]atomic.Uint64
}

// conn is one connection. It is in at most one queue.
type conn struct {
	net.Conn
	source netip.Addr
	in     *queue
	links  [kinds]link
}

// New returns a set without a limit. highest returns the highest number that
// the file descriptor of a new connection may have, or 0 for any; nil means 0.
// The kernel assigns the lowest free descriptor, so a higher number means that
// the process has too many files open.
func New(highest func() int) *Set {
	if highest == nil {
		highest = func() int { return 0 }
	}
	return &Set{highest: highest, conns: make(map[net.Conn]*conn), unused: newQueue(), idle: newQueue()}
}

// SetLimit limits the number of open connections; 0 means no limit.
func (s *Set) SetLimit(n int) { s.limit.Store(int64(n)) }

// Limit returns the limit, or 0.
func (s *Set) Limit() int { return int(s.limit.Load()) }

// Closed returns how many connections were closed for a reason.
func (s *Set) Closed(r Reason) uint64 { return s.closed[r].Load() }

// Open returns the number of open connections.
func (s *Set) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetClosed()
	return len(s.conns) + len(s.hijacked)
}

// State records a connection's state. It has the signature of http.Server's
// ConnState.
func (s *Set) State(nc net.Conn, state http.ConnState) {
	var closing []net.Conn
	s.mu.Lock()
	switch c := s.conns[nc]; {
	case state == http.StateNew:
		closing = s.add(nc)
	case c == nil: // It was closed because of the limit.
	case state == http.StateActive:
		c.removeFromQueue()
	case state == http.StateIdle:
		c.removeFromQueue()
		s.idle.push(c)
	case state == http.StateClosed:
		c.removeFromQueue()
		delete(s.conns, nc)
	case state == http.StateHijacked:
		c.removeFromQueue()
		delete(s.conns, nc)
		s.addHijacked(nc)
	}
	s.mu.Unlock()
	for _, nc := range closing {
		_ = unwrap(nc).Close() // Close the connection below TLS: a TLS close notification could block.
	}
}

// add adds a new connection and returns the ones that have to be closed for it.
func (s *Set) add(nc net.Conn) (closing []net.Conn) {
	limit := s.Limit()
	full := func() bool { return limit > 0 && len(s.conns)+len(s.hijacked) >= limit }
	if full() {
		s.forgetClosed()
	}
	short := aboveLimit(nc, s.highest())
	for full() || short {
		victim, reason := s.unused.oldest(), NoRequest
		if victim == nil {
			victim, reason = s.idle.oldest(), Idle
		}
		if victim == nil {
			s.closed[Refused].Add(1)
			return append(closing, nc)
		}
		s.closed[reason].Add(1)
		victim.removeFromQueue()
		delete(s.conns, victim.Conn)
		closing = append(closing, victim.Conn)
		short = false // Close only one.
	}
	c := &conn{Conn: nc, source: sourceOf(nc)}
	s.conns[nc] = c
	s.unused.push(c)
	return closing
}

// addHijacked counts a connection that has left its server. Nothing reports
// when it is closed, so closed ones are searched for whenever the number has
// doubled.
func (s *Set) addHijacked(nc net.Conn) {
	lower := unwrap(nc)
	if _, ok := rawConn(lower); !ok {
		return // It would never be recognised as closed.
	}
	s.hijacked = append(s.hijacked, lower)
	if len(s.hijacked) >= max(2*s.forgetAt, 64) {
		s.forgetClosed()
		s.forgetAt = len(s.hijacked)
	}
}

// forgetClosed removes hijacked connections that are closed.
func (s *Set) forgetClosed() {
	kept := s.hijacked[:0]
	for _, nc := range s.hijacked {
		if isOpen(nc) {
			kept = append(kept, nc)
		}
	}
	clear(s.hijacked[len(kept):])
	s.hijacked = kept
}
