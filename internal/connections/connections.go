// Package connections counts the connections of HTTP servers and keeps them within
// a bound.
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

// Reasons.
const (
	// NoRequest: it had not carried a request yet.
	NoRequest Reason = iota
	// Idle: it waited for the next request.
	Idle
	// Refused: it was the new one, and all others were in use.
	Refused
	reasons
)

// String names a reason for metrics.
func (r Reason) String() string { return [...]string{"no_request", "idle", "refused"}[r] }

// Reasons are all of them.
func Reasons() []Reason { return []Reason{NoRequest, Idle, Refused} }

// Set are the open connections of a process: State is the ConnState of all its
// servers.
//
// Over the bound, room is made by closing a connection that has not carried a request
// yet, else an idle one, else the new one: whoever only connects takes nobody's place
// who works. Of those the oldest is closed, and first of a source that has a quarter
// of them: a stranger who connects again and again closes his own.
type Set struct {
	limit   atomic.Int64
	highest func() int

	mu       sync.Mutex
	conns    map[net.Conn]*conn
	unused   *queue // without a request yet
	idle     *queue // between two requests
	hijacked []net.Conn
	forgetAt int

	closed [reasons]atomic.Uint64
}

// conn is one connection. It is in one queue at most.
type conn struct {
	net.Conn
	source netip.Addr
	in     *queue
	links  [kinds]link
}

// New returns a set without a bound. highest is the highest number that a
// descriptor of a new connection may have, or 0 where any may: descriptors are given
// from the lowest, so one above it says that the process has as many open, whoever
// opened them. Nil stands for 0.
func New(highest func() int) *Set {
	if highest == nil {
		highest = func() int { return 0 }
	}
	return &Set{highest: highest, conns: make(map[net.Conn]*conn), unused: newQueue(), idle: newQueue()}
}

// SetLimit sets how many connections may be open at the same time; 0 is no bound.
func (s *Set) SetLimit(n int) { s.limit.Store(int64(n)) }

// Limit is the bound, or 0.
func (s *Set) Limit() int { return int(s.limit.Load()) }

// Closed counts the connections that were closed for a reason.
func (s *Set) Closed(r Reason) uint64 { return s.closed[r].Load() }

// Open is how many connections are open.
func (s *Set) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetClosed()
	return len(s.conns) + len(s.hijacked)
}

// State follows a connection. It has the signature of http.Server's ConnState.
func (s *Set) State(nc net.Conn, state http.ConnState) {
	var closing []net.Conn
	s.mu.Lock()
	switch c := s.conns[nc]; {
	case state == http.StateNew:
		closing = s.add(nc)
	case c == nil: // closed for want of room
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
		_ = unwrap(nc).Close() // and without a last word, which could block
	}
}

// add takes a new connection in and returns what has to be closed for it.
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
		short = false // one gives way to one
	}
	c := &conn{Conn: nc, source: sourceOf(nc)}
	s.conns[nc] = c
	s.unused.push(c)
	return closing
}

// addHijacked counts a connection that has left its server: nothing tells when it is
// closed, so that is looked for whenever there are twice as many.
func (s *Set) addHijacked(nc net.Conn) {
	lower := unwrap(nc)
	if _, ok := rawConn(lower); !ok {
		return // nobody could ever tell that it is closed
	}
	s.hijacked = append(s.hijacked, lower)
	if len(s.hijacked) >= max(2*s.forgetAt, 64) {
		s.forgetClosed()
		s.forgetAt = len(s.hijacked)
	}
}

// forgetClosed forgets the connections that have left their server and are closed.
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
