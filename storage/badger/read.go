package badger

import (
	"context"
	"errors"
	"fmt"

	"github.com/osa-edge/osa-gateway/event"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// blocks reads the log's blocks in ascending order.
type blocks struct {
	txn   *bdg.Txn
	it    *bdg.Iterator
	block block // the one that load read
	bytes []byte
}

func newBlocks(txn *bdg.Txn) *blocks {
	return &blocks{txn: txn, it: txn.NewIterator(bdg.IteratorOptions{Prefix: []byte{kindBlock}})}
}

func (b *blocks) close() { b.it.Close() }

// seek goes to the first block that ends at seq or later.
func (b *blocks) seek(seq uint64) bool {
	b.it.Seek(seqKey(kindBlock, seq))
	return b.it.Valid()
}

func (b *blocks) next() bool {
	b.it.Next()
	return b.it.Valid()
}

// load reads the block that seek or next went to.
func (b *blocks) load() error {
	item := b.it.Item()
	last, err := parseSeqKey(kindBlock, item.Key())
	if err != nil {
		return err
	}
	if err := item.Value(func(v []byte) error { return b.block.parse(last, v) }); err != nil {
		return fmt.Errorf("block that ends at %d: %w", last, err)
	}
	return nil
}

// find loads the block with the event seq; false if there is no such event.
func (b *blocks) find(seq uint64) (bool, error) {
	if b.block.count == 0 || seq < b.block.first || seq > b.block.last {
		if !b.seek(seq) {
			return false, nil
		}
		if err := b.load(); err != nil {
			return false, err
		}
	}
	return seq >= b.block.first, nil
}

// event decodes the loaded block's event number i, without its body.
func (b *blocks) event(i int) (*event.Event, error) {
	meta, err := b.block.span(b.block.metas, i, 0)
	if err != nil {
		return nil, err
	}
	if r, ok := b.block.ref(i, stagedMeta); ok {
		if meta, err = readStaged(b.txn, r); err != nil {
			return nil, err
		}
	}
	e := &event.Event{Seq: b.block.first + uint64(i)}
	if _, err := e.DecodeBinary(meta); err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	return e, nil
}

// body reads the body of the loaded block's event number i.
func (b *blocks) body(i int) ([]byte, error) {
	if r, ok := b.block.ref(i, stagedBody); ok {
		return readStaged(b.txn, r)
	}
	var bodies []byte
	var err error
	if b.block.bodiesHere {
		bodies, err = readSection(&b.bytes, b.block.bodies)
	} else {
		bodies, err = b.separate()
	}
	if err != nil {
		return nil, err
	}
	body, err := b.block.span(bodies, i, 1)
	return append([]byte{}, body...), err
}

func (b *blocks) separate() (bodies []byte, err error) {
	item, err := b.txn.Get(seqKey(kindBodies, b.block.last))
	if err != nil {
		return nil, fmt.Errorf("bodies of the block that ends at %d: %w", b.block.last, err)
	}
	err = item.Value(func(v []byte) error {
		bodies, err = readBodies(&b.bytes, v)
		return err
	})
	return bodies, err
}

// view opens a snapshot of what is durable.
func (s *Store) view() (*bdg.Txn, storage.Bounds) {
	bounds := s.bounds()
	return s.db.NewTransaction(false), bounds
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	txn, bounds := s.view()
	defer txn.Discard()
	if seq == 0 || seq < bounds.First || seq > bounds.Last {
		return nil, fmt.Errorf("event %d: %w", seq, storage.ErrNotFound)
	}
	b := newBlocks(txn)
	defer b.close()
	found, err := b.find(seq)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("event %d: %w", seq, storage.ErrNotFound)
	}
	i := int(seq - b.block.first)
	e, err := b.event(i)
	if err != nil {
		return nil, err
	}
	e.Body, err = b.body(i)
	return e, err
}

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after, through uint64, fn func(*event.Event) bool) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	txn, bounds := s.view()
	defer txn.Discard()
	through = min(through, bounds.Last)
	if after >= through {
		return nil
	}
	from := max(after+1, bounds.First)
	b := newBlocks(txn)
	defer b.close()
	for ok := b.seek(from); ok; ok = b.next() {
		if err := s.interrupted(ctx); err != nil {
			return err
		}
		if err := b.load(); err != nil {
			return err
		}
		for i := range b.block.count {
			seq := b.block.first + uint64(i)
			if seq < from {
				continue
			}
			if seq > through {
				return nil
			}
			e, err := b.event(i)
			if err != nil {
				return err
			}
			if !fn(e) {
				return nil
			}
		}
	}
	return nil
}

// interrupted is why something long should stop.
func (s *Store) interrupted(ctx context.Context) error {
	select {
	case <-s.gate.closing:
		return storage.ErrClosed
	default:
		return ctx.Err()
	}
}

// getValue reads a value, or calls fn with nil where there is none.
func getValue(txn *bdg.Txn, key []byte, fn func(v []byte) error) error {
	item, err := txn.Get(key)
	if errors.Is(err, bdg.ErrKeyNotFound) {
		return fn(nil)
	}
	if err != nil {
		return err
	}
	return item.Value(fn)
}
