package connections

// list is a doubly linked list of connections, the one that came first in front.
type list struct{ first, last *conn }

func (l *list) push(c *conn) {
	c.in, c.prev = l, l.last
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

// leave takes the connection out of its list, if it is in one.
func (c *conn) leave() {
	l := c.in
	if l == nil {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.in, c.prev, c.next = nil, nil, nil
}
