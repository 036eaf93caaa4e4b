package connections

import (
	"net"
	"net/netip"

	"github.com/osa-edge/osa-gateway/internal/network"
)

// queue is a list of connections that wait for a request, which knows whether one
// source has much of it.
type queue struct {
	all      list
	bySource map[netip.Addr]*list
	// largest had the most connections of all when one was added to it last.
	largest *list
}

// dominantShare is the part of a queue, as one in so many, from which on a source makes
// room for others: with fewer nobody can tell a stranger from a crowd.
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

// maxInspected is among how many of the oldest a silent one is looked for.
const maxInspected = 32

// oldest is the connection that makes room for another: the oldest of a source that
// has much of the queue, else of all. One that has sent what the server has not come
// to read is passed over, if one of the next is silent.
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

// removeFromQueue takes the connection out of its queue, if it is in one.
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

// sourceOf is whom a connection counts for: an address, or the /64 that an IPv6 host
// has to choose from. It is zero for what has none.
func sourceOf(nc net.Conn) netip.Addr {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	return network.ClientOf(addr)
}
