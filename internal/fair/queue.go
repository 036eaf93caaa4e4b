// Package fair shares what is scarce between keys, such as workspaces: in turn
// between the keys, and in the order of arrival within each.
package fair

// Queue takes items in turn from each key that has any. Every operation takes the
// same time, however many items and keys there are. The zero value is an empty
// queue. It is not safe for concurrent use.
type Queue[T any] struct {
	byKey map[string]*keyQueue[T]
	next  *keyQueue[T] // whose item is next, in a ring of all lines
	n     int
}

// keyQueue is the items of one key, oldest first.
type keyQueue[T any] struct {
	key         string
	first, last *Item[T]
	n           int
	prev, next  *keyQueue[T] // in the ring
}

// Item is one place in a queue.
type Item[T any] struct {
	Value      T
	queue      *keyQueue[T] // nil once it has left
	prev, next *Item[T]
}

// Len is how many items wait, and LenOf how many of one key.
func (q *Queue[T]) Len() int { return q.n }

// LenOf is how many items of the key wait.
func (q *Queue[T]) LenOf(key string) int {
	if l := q.byKey[key]; l != nil {
		return l.n
	}
	return 0
}

// Push puts v at the end of its key's line. A key that had nothing waiting comes
// after all that have.
func (q *Queue[T]) Push(key string, v T) *Item[T] {
	l := q.byKey[key]
	if l == nil {
		l = &keyQueue[T]{key: key}
		if q.byKey == nil {
			q.byKey = make(map[string]*keyQueue[T])
		}
		q.byKey[key] = l
		if q.next == nil {
			l.prev, l.next, q.next = l, l, l
		} else {
			l.prev, l.next = q.next.prev, q.next
			l.prev.next, l.next.prev = l, l
		}
	}
	i := &Item[T]{Value: v, queue: l, prev: l.last}
	if l.last == nil {
		l.first = i
	} else {
		l.last.next = i
	}
	l.last = i
	l.n++
	q.n++
	return i
}

// Pop takes the oldest item of the key whose turn it is; ok is false if nothing
// waits.
func (q *Queue[T]) Pop() (v T, ok bool) {
	l := q.next
	if l == nil {
		return v, false
	}
	q.next = l.next
	i := l.first
	q.Remove(i)
	return i.Value, true
}

// Remove takes an item out, wherever it stands. One that has left already stays
// so.
func (q *Queue[T]) Remove(i *Item[T]) {
	l := i.queue
	if l == nil {
		return
	}
	if i.prev == nil {
		l.first = i.next
	} else {
		i.prev.next = i.next
	}
	if i.next == nil {
		l.last = i.prev
	} else {
		i.next.prev = i.prev
	}
	i.queue, i.prev, i.next = nil, nil, nil
	q.n--
	if l.n--; l.n > 0 {
		return
	}
	delete(q.byKey, l.key)
	if l.next == l {
		q.next = nil
		return
	}
	l.prev.next, l.next.prev = l.next, l.prev
	if q.next == l {
		q.next = l.next
	}
}
