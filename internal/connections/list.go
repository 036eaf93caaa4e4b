package connections

// list is a doubly linked list of connections, oldest first. A connection can
// be in one list of each kind.
type list struct {
	kind        int
	first, last *conn
	n           int
}

// The kinds of lists.
const (
	ofAll = iota
	ofSource
	kinds
)

// link is a connection's links in a list.
type link struct{ prev, next *conn }

func (l *list) push(c *conn) {
	c.links[l.kind] = link{prev: l.last}
	if l.last != nil {
		l.last.links[l.kind].next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *list) remove(c *conn) {
	at := c.links[l.kind]
	if at.prev != nil {
		at.prev.links[l.kind].next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		at.next.links[l.kind].prev = at.prev
	} else {
		l.last = at.prev
	}
	c.links[l.kind] = link{}
	l.n--
}
