package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// unsealed is an unsealed segment: its file, and in memory the list of batches
// and the tables. One goroutine adds, others read.
type unsealed struct {
	file disk.File
	path string
	head fileHead
	salt salted
	// report is called with damage that a reader finds.
	report func(*storage.DamageError)

	mu      sync.RWMutex
	batches []batchRef
	// n is the number of positions, including those of damaged batches.
	n        int
	loggedAt []int64
	oldest   int64
	refs     []string
	damaged  bool

	keyTable, termTable *index.MemTable
}

// batchRef is the location of a batch.
type batchRef struct {
	off                 int64
	pos                 int
	count               int
	metasLen, bodiesLen uint32
	metasSum, bodiesSum uint32
	sum                 uint32 // The checksum of the header.
	minTime, maxTime    int64  // The range of ReceivedAt.
}

func newUnsealed(f disk.File, path string, head fileHead, report func(*storage.DamageError)) *unsealed {
	return &unsealed{
		file: f, path: path, head: head, salt: newSalted(head.salt), report: report, oldest: noTime,
		keyTable: index.NewMemTable(), termTable: index.NewMemTable(),
	}
}

// add adds a batch at off.
func (u *unsealed) add(off int64, h *batchHead, events []*event.Event) {
	pos := int(h.first - u.head.base)
	u.index(pos, events)
	u.publish(off, h, events)
}

// index adds events to the tables. Readers do not look at their positions yet.
func (u *unsealed) index(pos int, events []*event.Event) {
	for i, e := range events {
		u.keyTable.Add(u.head.seed.Key(e), uint16(pos+i))
		u.termTable.AddEvent(u.head.seed, e, uint16(pos+i))
	}
}

// publish makes a batch visible whose events are in the tables.
func (u *unsealed) publish(off int64, h *batchHead, events []*event.Event) {
	b := batchRef{
		off: off, pos: int(h.first - u.head.base), count: len(events),
		metasLen: h.metasLen, bodiesLen: h.bodiesLen, metasSum: h.metasSum, bodiesSum: h.bodiesSum, sum: h.sum,
		minTime: unixNano(events[0].ReceivedAt), maxTime: unixNano(events[0].ReceivedAt),
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.skipTo(b.pos)
	for _, e := range events {
		at := unixNano(e.ReceivedAt)
		b.minTime, b.maxTime = min(b.minTime, at), max(b.maxTime, at)
		logged := unixNano(e.LoggedAt)
		u.loggedAt = append(u.loggedAt, logged)
		u.oldest = min(u.oldest, logged)
		if e.BodyRef != "" {
			u.refs = append(u.refs, e.BodyRef)
		}
	}
	u.batches = append(u.batches, b)
	u.n = b.pos + b.count
}

// skipTo makes pos the next position. The positions before it are damaged and
// have no time. The caller holds mu.
func (u *unsealed) skipTo(pos int) {
	for u.n < pos {
		u.loggedAt = append(u.loggedAt, noTime)
		u.n++
		u.damaged = true
	}
}

func (u *unsealed) count() int {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.n
}

func (u *unsealed) minLogged() int64 {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.oldest
}

// loggedBefore implements content.
func (u *unsealed) loggedBefore(before time.Time) (int, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	limit := unixNano(before)
	for pos := len(u.loggedAt) - 1; pos >= 0; pos-- {
		if u.loggedAt[pos] < limit {
			return pos + 1, nil
		}
	}
	return 0, nil
}

func (u *unsealed) names() ([]string, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return slices.Clone(u.refs), nil
}

func (u *unsealed) keys() (index.Table, error)   { return u.keyTable, nil }
func (u *unsealed) terms() (index.Source, error) { return u.termTable, nil }

// receivedBetween implements content.
func (u *unsealed) receivedBetween(since, until int64) (index.Set, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	var w rangeSet
	for i := range u.batches {
		if b := &u.batches[i]; b.maxTime >= since && b.minTime <= until {
			w.add(b.pos, b.pos+b.count)
		}
	}
	return w.set(), nil
}

// find returns the batch that holds a position, or the gap around the position.
func (u *unsealed) find(pos int) (b batchRef, gap [2]int, ok bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	i, found := slices.BinarySearchFunc(u.batches, pos, func(b batchRef, pos int) int {
		switch {
		case b.pos+b.count <= pos:
			return -1
		case b.pos > pos:
			return 1
		}
		return 0
	})
	if found {
		return u.batches[i], gap, true
	}
	gap[1] = u.n - 1
	if i > 0 {
		gap[0] = u.batches[i-1].pos + u.batches[i-1].count
	}
	if i < len(u.batches) {
		gap[1] = u.batches[i].pos - 1
	}
	return batchRef{}, gap, false
}

// damage creates and reports the error for the positions from first to last.
func (u *unsealed) damage(first, last int, err error) error {
	d := &storage.DamageError{
		Range: storage.Range{First: u.head.base + uint64(first), Last: u.head.base + uint64(last)},
		Where: u.path, Err: err,
	}
	u.report(d)
	return d
}

// unreadable returns the error for a failed read of positions: a DamageError if
// the disk cannot read them, else the error itself.
func (u *unsealed) unreadable(first, last int, err error) error {
	if isUnreadable(err) {
		return u.damage(first, last, err)
	}
	return fmt.Errorf("read %s: %w", u.path, err)
}

// isUnreadable reports whether the disk cannot read the data, now or later.
func isUnreadable(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EIO)
}

// at returns the batch that holds a position, or a DamageError.
func (u *unsealed) at(pos int) (batchRef, error) {
	b, gap, ok := u.find(pos)
	if !ok {
		return batchRef{}, u.damage(gap[0], gap[1], fmt.Errorf("%w: a batch cannot be read", errFormat))
	}
	return b, nil
}

// metas reads the metas of a batch into buf.
func (u *unsealed) metas(b *batchRef, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(b.metasLen))[:b.metasLen]
	if err := disk.ReadFull(u.file, buf, b.off+batchHeadLen); err != nil {
		return nil, u.unreadable(b.pos, b.pos+b.count-1, err)
	}
	if u.salt.sum(buf) != b.metasSum {
		return nil, u.damage(b.pos, b.pos+b.count-1, fmt.Errorf("%w: checksum of metas", errFormat))
	}
	return buf, nil
}

func (u *unsealed) cursor() cursor { return &unsealedCursor{u: u} }

// unsealedCursor keeps the metas of the last batch.
type unsealedCursor struct {
	u     *unsealed
	batch batchRef
	buf   []byte
	metas [][]byte
	// bodies are the ends of the bodies.
	bodies []int64
}

func (c *unsealedCursor) event(pos int) (*event.Event, error) {
	if i := pos - c.batch.pos; i < 0 || i >= len(c.metas) {
		if err := c.load(pos); err != nil {
			return nil, err
		}
	}
	e, err := decodeMeta(c.metas[pos-c.batch.pos], c.u.head.base+uint64(pos))
	if err != nil {
		return nil, c.u.damage(pos, pos, err)
	}
	return e, nil
}

// body implements cursor. It verifies the body with the event's digest, so that
// it need not read the other bodies of the batch for their checksum.
func (c *unsealedCursor) body(e *event.Event) ([]byte, error) {
	pos := int(e.Seq - c.u.head.base)
	i := pos - c.batch.pos
	body := make([]byte, c.bodies[i+1]-c.bodies[i])
	off := c.batch.off + batchHeadLen + int64(c.batch.metasLen) + c.bodies[i]
	if err := disk.ReadFull(c.u.file, body, off); err != nil {
		return nil, c.u.unreadable(pos, pos, err)
	}
	if err := checkBody(e, body); err != nil {
		return nil, c.u.damage(pos, pos, err)
	}
	return body, nil
}

func (c *unsealedCursor) load(pos int) error {
	c.metas, c.bodies = c.metas[:0], append(c.bodies[:0], 0)
	b, err := c.u.at(pos)
	if err != nil {
		return err
	}
	if c.buf, err = c.u.metas(&b, c.buf); err != nil {
		return err
	}
	err = entries(c.buf, b.count, func(i int, meta []byte, n uint32) error {
		c.metas = append(c.metas, meta)
		c.bodies = append(c.bodies, c.bodies[i]+int64(n))
		return nil
	})
	if err == nil && c.bodies[b.count] != int64(b.bodiesLen) {
		err = errFormat
	}
	if err != nil {
		c.metas = c.metas[:0]
		return c.u.damage(b.pos, b.pos+b.count-1, err)
	}
	c.batch = b
	return nil
}

func (u *unsealed) close() { _ = u.file.Close() }

// Interface guards
var (
	_ content = (*unsealed)(nil)
	_ cursor  = (*unsealedCursor)(nil)
)
