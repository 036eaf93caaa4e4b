package badger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// stagedBytes is the size from which a part of an event is staged.
const stagedBytes = 256 << 10

// scratch is what CommitBatch reuses. Badger keeps what it is given only until
// the commit returns.
type scratch struct {
	keys    []byte
	entries []bdg.Entry
	metas   []byte
	writes  []write
	block   blockWriter
}

// write is an event that is to be written.
type write struct {
	event *event.Event
	index int // in the batch
	seq   uint64
	meta  []byte
	body  []byte
	refs  []staged
}

// CommitBatch implements storage.Store. A batch of up to 2048 events fits,
// whatever their sizes.
func (s *Store) CommitBatch(ctx context.Context, batch []*event.Event) ([]storage.Outcome, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	size := int64(0)
	for _, e := range batch {
		size += int64(len(e.Body)) + 1024
	}
	if err := s.space.admit(size, spaceLow); err != nil {
		return nil, err
	}
	// From here on ctx is not asked: half a commit helps nobody.
	s.front.Lock()
	defer s.front.Unlock()
	out, err := s.commitBatch(batch)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return out, nil
}

// Writable implements storage.Store.
func (s *Store) Writable() error {
	select {
	case <-s.gate.closing:
		return storage.ErrClosed
	default:
		return s.space.allows(spaceLow)
	}
}

func (s *Store) commitBatch(batch []*event.Event) ([]storage.Outcome, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	failpoint.Hit("commit.begin")
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	c := committing{s: s, scratch: &s.scratch, txn: txn, variant: s.variant.Load()}
	c.reset(len(batch))
	defer c.reset(0) // hold on to no event

	out := make([]storage.Outcome, len(batch))
	seq := s.issued.Load()
	for i, e := range batch {
		original, err := c.admit(e, seq+1)
		if err != nil {
			return nil, err
		}
		if original != 0 {
			out[i] = storage.Outcome{Seq: original, Duplicate: true}
			continue
		}
		seq++
		out[i] = storage.Outcome{Seq: seq}
		c.writes = append(c.writes, write{event: e, index: i, seq: seq, body: e.Body})
	}
	if len(c.writes) == 0 {
		return out, nil
	}
	c.encodeMetas()
	if err := c.stageLarge(); err != nil {
		return nil, err
	}
	failpoint.Hit("commit.staged")
	if err := c.writeBlocks(); err != nil {
		return nil, err
	}
	if c.variant != s.variant.Load() {
		if err := setUints(txn, metaVariant, c.variant); err != nil {
			return nil, err
		}
	}
	if err := s.commit(txn, true); err != nil {
		s.broken = err
		return nil, err
	}
	s.fillSieve()
	failpoint.Hit("commit.synced")

	for _, w := range c.writes {
		w.event.Seq = w.seq
	}
	s.variant.Store(c.variant)
	s.issued.Store(seq)
	if b := s.bounds(); b.First == 0 || b.First > b.Last {
		s.first.Store(c.writes[0].seq)
	}
	s.last.Store(seq) // readers stop at last: they see nothing that is not durable
	return out, nil
}

// committing is one CommitBatch.
type committing struct {
	*scratch
	s       *Store
	txn     *bdg.Txn
	bytes   int    // what txn holds, about
	variant uint64 // newest event with PayloadMismatch
}

func (c *committing) reset(n int) {
	clear(c.writes[:cap(c.writes)])
	clear(c.entries[:cap(c.entries)])
	c.keys, c.metas, c.writes = c.keys[:0], c.metas[:0], c.writes[:0]
	if need := 3*n + 8; cap(c.entries) < need && n > 0 {
		c.entries = make([]bdg.Entry, 0, need)
	}
	c.entries = c.entries[:0]
}

// key keeps the key that fn appends until the commit. Where keys has to grow,
// earlier ones stay in the array that it had.
func (c *committing) key(fn func(dst []byte) []byte) []byte {
	start := len(c.keys)
	c.keys = fn(c.keys)
	return c.keys[start:len(c.keys):len(c.keys)]
}

func (c *committing) set(key, value []byte) error {
	c.bytes += len(key) + len(value) + 24
	if len(c.entries) == cap(c.entries) {
		return c.txn.SetEntry(bdg.NewEntry(key, value))
	}
	c.entries = append(c.entries, bdg.Entry{Key: key, Value: value})
	return c.txn.SetEntry(&c.entries[len(c.entries)-1])
}

// admit returns the original of e if it is a duplicate. Otherwise it enters e,
// which will be seq, and sets PayloadMismatch.
//
// The entry of a dedup key is always its newest event, and older ones with other
// bodies stand aside under their digests. So one look finds most originals, and
// the entry outlives the events that it speaks of, which are pruned oldest first.
func (c *committing) admit(e *event.Event, seq uint64) (original uint64, err error) {
	key := c.key(func(dst []byte) []byte { return appendDedupKey(dst, e) })
	var digest event.Digest
	newest := uint64(0)
	if c.s.sieve.admit(&e.DedupKey) {
		if digest, newest, err = c.lookup(key); err != nil {
			return 0, err
		}
	}
	mismatch := newest != 0
	if mismatch {
		if digest == e.BodyDigest {
			return newest, nil
		}
		variant := c.key(func(dst []byte) []byte { return appendVariantKey(dst, key, e.BodyDigest) })
		if _, original, err = c.lookup(variant); err != nil || original != 0 {
			return original, err
		}
		aside := c.key(func(dst []byte) []byte { return appendVariantKey(dst, key, digest) })
		value := c.key(func(dst []byte) []byte { return appendDedupValue(dst, digest, newest) })
		if err := c.set(aside, value); err != nil {
			return 0, err
		}
		c.variant = seq
	}
	e.PayloadMismatch = mismatch
	value := c.key(func(dst []byte) []byte { return appendDedupValue(dst, e.BodyDigest, seq) })
	return 0, c.set(key, value)
}

func (c *committing) lookup(key []byte) (digest event.Digest, seq uint64, err error) {
	item, err := c.txn.Get(key)
	if errors.Is(err, bdg.ErrKeyNotFound) {
		return digest, 0, nil
	}
	if err != nil {
		return digest, 0, err
	}
	err = item.Value(func(v []byte) error {
		digest, seq, err = parseDedupValue(v)
		return err
	})
	return digest, seq, err
}

func (c *committing) encodeMetas() {
	for i := range c.writes {
		w := &c.writes[i]
		start := len(c.metas)
		c.metas = w.event.AppendBinary(c.metas)
		w.meta = c.metas[start:len(c.metas):len(c.metas)]
	}
}

// stageLarge stages the parts that are too large for the transaction, or too
// large together.
func (c *committing) stageLarge() error {
	type piece struct {
		w    *write
		part uint64
		data []byte
	}
	room := maxTxn - c.bytes - 32<<10 // what blocks take besides their parts
	total := 0
	for i := range c.writes {
		total += len(c.writes[i].meta) + len(c.writes[i].body)
	}
	if total <= stagedBytes {
		return nil
	}
	var pieces []piece
	for i := range c.writes {
		w := &c.writes[i]
		pieces = append(pieces, piece{w, stagedBody, w.body}, piece{w, stagedMeta, w.meta})
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(len(b.data), len(a.data)) })
	for _, p := range pieces {
		if len(p.data) <= stagedBytes && total <= room {
			return nil
		}
		id, err := c.s.stage(p.data)
		if err != nil {
			return err
		}
		total -= len(p.data)
		p.w.refs = append(p.w.refs, staged{part: p.part, id: id, size: len(p.data)})
		if p.part == stagedBody {
			p.w.body = nil
		} else {
			p.w.meta = nil
		}
		if err := c.txn.Delete(seqKey(kindMarker, id)); err != nil {
			return err
		}
	}
	return nil
}

func (c *committing) writeBlocks() error {
	b := &c.block
	b.out = b.out[:0]
	b.reset()
	for i, w := range c.writes {
		b.add(w.meta, w.body, w.refs...)
		full := i+1 == len(c.writes) || b.count() == maxBlockCount
		if !full {
			next := c.writes[i+1]
			full = len(b.metas)+len(next.meta) > maxBlockBytes || len(b.bodies)+len(next.body) > maxBlockBytes
		}
		if !full {
			continue
		}
		block, bodies := b.finish()
		if err := c.set(c.key(func(dst []byte) []byte { return appendSeqKey(dst, kindBlock, w.seq) }), block); err != nil {
			return err
		}
		if bodies != nil {
			if err := c.set(c.key(func(dst []byte) []byte { return appendSeqKey(dst, kindBodies, w.seq) }), bodies); err != nil {
				return err
			}
		}
		b.reset()
	}
	return nil
}
