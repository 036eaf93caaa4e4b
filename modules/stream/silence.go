package stream

import (
	"container/heap"
	"net"
	"time"

	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

const (
	// silencePoll is how often the kernel is asked what peers have acknowledged.
	silencePoll = time.Second
	// silentAfter is how long a peer must have acknowledged nothing for its stream
	// to give way to a new one of the same owner.
	silentAfter = 3 * time.Second
	// probeEvery bounds how often the streams of an owner whose places are taken
	// are written to, to see whether their peers are there.
	probeEvery = 5 * time.Second
)

// watch notes whose peer the stream depends on. An exclusive connection carries
// nothing but the stream.
func (s *stream) watch(conn net.Conn, exclusive bool) {
	s.silence = reactor.NewSilence(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.exclusive = conn, exclusive
}

// handOver makes the reactor the stream's driver.
func (s *stream) handOver(c *reactor.Conn) {
	s.mu.Lock()
	s.conn, s.handed = nil, c
	s.mu.Unlock()
	s.detached.Store(true)
	s.setWake(c.Wake)
	// What came meanwhile woke the handler.
	if end := s.dropped(); end != "" {
		c.Drop(end)
	}
	c.Wake()
}

// dropped is with what a stream ended whose peer acknowledges nothing.
func (s *stream) dropped() string {
	switch told := s.told.Load(); {
	case told&tellSilent != 0:
		return endTimeout
	case told&tellDisplaced != 0:
		return endDisplaced
	}
	return ""
}

// drop ends the stream without another word to its peer.
func (s *stream) drop(what uint32) {
	s.told.Or(what)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handed != nil {
		s.handed.Drop(s.dropped())
		return
	}
	s.look()
	if s.cut != nil {
		s.cut()
	}
	// Others on the connection may hope for a little longer.
	if s.conn != nil && (s.exclusive || what == tellSilent) {
		reactor.Reset(s.conn)
	}
}

// silentFor is for how long the stream's peer has acknowledged nothing.
func (s *stream) silentFor(now time.Time) time.Duration {
	if s.silence == nil || !s.unacknowledged.Swap(false) {
		return 0
	}
	since := s.silence.Since(now)
	if since.IsZero() {
		return 0
	}
	s.unacknowledged.Store(true)
	return now.Sub(since)
}

// endSilent ends the streams whose peer has acknowledged nothing for the write
// timeout.
func (t *registry) endSilent(now time.Time) {
	t.mu.Lock()
	var written []*stream
	for _, s := range t.queue {
		if s.unacknowledged.Load() {
			written = append(written, s)
		}
	}
	t.mu.Unlock()
	for _, s := range written {
		if s.silentFor(now) >= s.timeout {
			s.drop(tellSilent)
		}
	}
}

// displaceSilent gives the place of the owner's stream that has been silent for
// longest to another. Where none is, all are written to: those whose peer has
// vanished show it when the owner tries again. It is called with the lock held.
func (t *registry) displaceSilent(owner string, now time.Time) {
	var longest *stream
	var silent time.Duration
	var probed []*stream
	for _, s := range t.queue {
		if s.owner != owner || s.released || s.silence == nil {
			continue
		}
		if d := s.silentFor(now); d >= silentAfter && d > silent {
			longest, silent = s, d
		}
		if s.due.Sub(now) < s.interval-probeEvery {
			probed = append(probed, s)
		}
	}
	if longest != nil {
		longest.released = true
		t.giveBack(owner, longest.hub)
		longest.drop(tellDisplaced)
		return
	}
	for _, s := range probed {
		s.due = s.nextDue(now)
		heap.Fix(&t.queue, s.place)
		what, _ := s.verdict(now)
		s.tell(what)
	}
}
