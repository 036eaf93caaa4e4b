package connections

import (
	"net"
	"net/netip"

	"github.com/osa-edge/osa-gateway/internal/network"
)

// queue is a list of connections that wait for a request. It knows whether one
// source has a large share of them.
type queue struct {
	all      list
	bySource map[netip.Addr]*list
	// largest was the source with the most connections when one was last added.
	largest *list
}

// A source with at least one in dominantShare connections of a queue is closed
// first. Below that share a single client cannot be told from a crowd.
const dominantShare = 4

func newQueue() *queue { return &queue{bySource: make(map[netip.Addr]*list)} }

func (q *queue) push(c *conn) {
	q.all.push(c)
	l := q.bySource[c.source]
	if l == nil {
		l = &list{kind: ofSource}
		q.bySource[c.source] = l
	}
	if l.push(c); q.largest == nil || l.n > q.largest.n {
		q.largest = l
	}
	c.in = q
}

// maxInspected is how many of the oldest connections are inspected for one with
// no unread data.
const maxInspected = 32

// oldest returns the connection to close: the oldest one of a source with a
// large share, else of all. A connection with unread data is skipped if a later
// one has none.
func (q *queue) oldest() *conn {
	l := &q.all
	if of := q.largest; of != nil && of.n > 1 && of.n*dominantShare >= q.all.n {
		l = of
	}
	c := l.first
	for range maxInspected {
		if c == nil || !unread(c.Conn) {
			break
		}
		c = c.links[l.kind].next
	}
	if c == nil {
		return l.first
	}
	return c
}

// removeFromQueue removes the connection from its queue, if it is in one.
func (c *conn) removeFromQueue() {
	q := c.in
	if q == nil {
		return
	}
	c.in = nil
	q.all.remove(c)
	l := q.bySource[c.source]
	if l.remove(c); l.n == 0 {
		delete(q.bySource, c.source)
		if q.largest == l {
			q.largest = nil
		}
	}
}

// sourceOf returns the address that a connection is counted under, or zero.
func sourceOf(nc net.Conn) netip.Addr {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	return network.ClientOf(addr)
}
