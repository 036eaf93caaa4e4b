// Package fair shares a limited resource between keys, such as workspaces. Keys
// take turns, and the items of one key keep their order. The package does not
// know what the resource is.
package fair

// Queue returns items from each key in turn. Every operation takes constant
// time. The zero value is an empty queue. It is not safe for concurrent use.
type Queue[T any] struct {
	byKey map[string]*keyQueue[T]
	next  *keyQueue[T] // The key whose item is next, in a ring of all keys.
	n     int
}

// keyQueue holds the items of one key, oldest first.
type keyQueue[T any] struct {
	key         string
	first, last *Item[T]
	n           int
	prev, next  *keyQueue[T] // In the ring.
}

// Item is an entry of a queue.
type Item[T any] struct {
	Value      T
	queue      *keyQueue[T] // nil once it was removed.
	prev, next *Item[T]
}

// Len returns the number of items.
func (q *Queue[T]) Len() int { return q.n }

// LenOf returns the number of items of a key.
func (q *Queue[T]) LenOf(key string) int {
	if l := q.byKey[key]; l != nil {
		return l.n
	}
	return 0
}

// Push adds v at the end of its key's items. A key without items is added after
// all other keys.
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

// Pop removes the oldest item of the next key. ok is false if the queue is
// empty.
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

// Remove removes an item. It does nothing for an item that was removed before.
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
