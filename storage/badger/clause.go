package badger

import (
	"bytes"
	"encoding/binary"

	"github.com/osa-edge/osa-gateway/event"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
)

// walk goes through the buckets that a query may find something in, forwards or
// backwards. It asks every clause for its next bucket and follows the farthest,
// until all have one in common; then it intersects their bitmaps.
type walk struct {
	ascending bool
	clauses   []clause
	times     *cursor
	// since and until bound ReceivedAt, inclusive.
	since, until int64
	shared       *bdg.Iterator
	cursors      []*cursor
	steps        int
}

// clause is an OR of terms.
type clause []*cursor

// cursor goes through the entries of one key prefix, which end in a bucket.
type cursor struct {
	it     *bdg.Iterator
	own    bool // it is nobody else's
	prefix []byte
	key    []byte
	begun  bool
	valid  bool
	bucket uint64
	value  []byte
}

// ownIterators is how many terms get an iterator each. Beyond that, in filters
// that name many values, they share one and seek.
const ownIterators = 24

func newWalk(txn *bdg.Txn, f *event.Filter, ascending bool) *walk {
	w := &walk{ascending: ascending}
	w.since, w.until = nanoRange(f)
	terms := f.Clauses()
	if f.WorkspaceID != "" {
		terms = append(terms, []event.Term{{Field: fieldWorkspace, Value: f.WorkspaceID}})
	}
	total := 0
	for _, clause := range terms {
		total += len(clause)
	}
	cursorFor := func(prefix []byte) *cursor {
		c := &cursor{prefix: prefix, key: append([]byte(nil), prefix...)}
		if total <= ownIterators {
			c.own = true
			c.it = txn.NewIterator(bdg.IteratorOptions{Prefix: prefix, Reverse: !ascending})
		} else {
			if w.shared == nil {
				w.shared = txn.NewIterator(bdg.IteratorOptions{Prefix: []byte{kindPosting}, Reverse: !ascending})
			}
			c.it = w.shared
		}
		w.cursors = append(w.cursors, c)
		return c
	}
	for _, or := range terms {
		var c clause
		seen := make(map[event.Term]bool, len(or))
		for _, t := range or {
			if !seen[t] {
				seen[t] = true
				c = append(c, cursorFor(appendTerm([]byte{kindPosting}, t)))
			}
		}
		w.clauses = append(w.clauses, c)
	}
	if len(terms) == 0 || f.Since != f.Until || !f.Since.IsZero() {
		prefix := []byte{kindTimes}
		w.times = &cursor{prefix: prefix, key: append([]byte(nil), prefix...), own: true,
			it: txn.NewIterator(bdg.IteratorOptions{Prefix: prefix, Reverse: !ascending})}
		w.cursors = append(w.cursors, w.times)
	}
	return w
}

func (w *walk) close() {
	for _, c := range w.cursors {
		if c.own {
			c.it.Close()
		}
	}
	if w.shared != nil {
		w.shared.Close()
	}
}

// before reports whether bucket a comes before b on the way.
func (w *walk) before(a, b uint64) bool {
	if w.ascending {
		return a < b
	}
	return a > b
}

// seek goes to bucket b or, where the prefix has none, to the next on the way.
func (c *cursor) seek(w *walk, b uint64) error {
	if c.begun && (!c.valid || !w.before(c.bucket, b)) {
		return nil
	}
	// The next entry is the one more often than not, and next is cheaper. An
	// own iterator stands on the entry that the cursor read last.
	if c.begun && c.own {
		c.it.Next()
		if err := c.read(); err != nil || !c.valid || !w.before(c.bucket, b) {
			return err
		}
	}
	c.begun = true
	c.key = binary.BigEndian.AppendUint64(c.key[:len(c.prefix)], b)
	c.it.Seek(c.key)
	return c.read()
}

func (c *cursor) read() error {
	c.valid = c.it.Valid()
	if !c.valid {
		return nil
	}
	item := c.it.Item()
	key := item.Key()
	if len(key) != len(c.prefix)+8 || !bytes.HasPrefix(key, c.prefix) {
		c.valid = false // a shared iterator went on to another term
		return nil
	}
	c.bucket = binary.BigEndian.Uint64(key[len(c.prefix):])
	return item.Value(func(v []byte) error {
		c.value = append(c.value[:0], v...)
		return nil
	})
}

// seek goes to bucket b or the next one that has any of the clause's terms.
func (c clause) seek(w *walk, b uint64) (next uint64, ok bool, err error) {
	for _, cur := range c {
		if err := cur.seek(w, b); err != nil {
			return 0, false, err
		}
		if cur.valid && (!ok || w.before(cur.bucket, next)) {
			next, ok = cur.bucket, true
		}
	}
	return next, ok, nil
}

// union is what the clause selects in bucket b, to which it has sought.
func (c clause) union(b uint64) (out bitmap, err error) {
	var m bitmap
	for _, cur := range c {
		if !cur.valid || cur.bucket != b {
			continue
		}
		if err := m.parse(cur.value); err != nil {
			return out, err
		}
		out.or(&m)
	}
	return out, nil
}

// next finds the first bucket from b on in which all clauses have something, and
// what they have in common there, which may be nothing. ok is false at the end.
// Where steps ran out it returns the bucket that it would have gone on with.
func (w *walk) next(b uint64) (bucket uint64, found bitmap, ok bool, err error) {
	for ; ; w.steps++ {
		if w.steps >= queryBuckets {
			return b, bitmap{}, true, nil
		}
		start := b
		if w.times != nil {
			var s span
			if b, ok, err = w.nextSpan(b, &s); err != nil || !ok {
				return 0, found, false, err
			}
			found = s.events
		} else {
			for i := range found {
				found[i] = ^uint64(0)
			}
		}
		for _, c := range w.clauses {
			next, ok, err := c.seek(w, b)
			if err != nil || !ok {
				return 0, found, false, err
			}
			b = next
		}
		if len(w.clauses) > 0 && (w.times != nil || len(w.clauses) > 1) && b != start {
			continue // somebody went farther than those before it
		}
		for _, c := range w.clauses {
			m, err := c.union(b)
			if err != nil {
				return 0, found, false, err
			}
			found.and(&m)
		}
		return b, found, true, nil
	}
}

// nextSpan finds the first bucket from b on that holds events of the time asked for.
func (w *walk) nextSpan(b uint64, s *span) (uint64, bool, error) {
	for ; ; w.steps++ {
		if err := w.times.seek(w, b); err != nil || !w.times.valid {
			return 0, false, err
		}
		if err := s.parse(w.times.value); err != nil {
			return 0, false, err
		}
		b = w.times.bucket
		if s.late >= w.since && s.earliest <= w.until || w.steps >= queryBuckets {
			return b, true, nil
		}
		if b == 0 && !w.ascending {
			return 0, false, nil
		}
		if w.ascending {
			b++
		} else {
			b--
		}
	}
}
