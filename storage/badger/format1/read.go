package format1

import (
	"fmt"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/osa-edge/osa-gateway/event"
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
	last, err := parseBlockKey(item.Key())
	if err != nil {
		return err
	}
	if err := item.Value(func(v []byte) error { return b.block.parse(last, v) }); err != nil {
		return fmt.Errorf("block that ends at %d: %w", last, err)
	}
	return nil
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

// readStaged puts together what was staged in chunks.
func readStaged(txn *bdg.Txn, r staged) ([]byte, error) {
	var out []byte
	for n := uint32(0); len(out) < r.size; n++ {
		item, err := txn.Get(chunkKey(r.id, n))
		if err != nil {
			return nil, fmt.Errorf("chunk %d of %d: %w", n, r.id, err)
		}
		if out == nil {
			out = make([]byte, 0, r.size)
		}
		if err := item.Value(func(v []byte) error {
			if len(v) == 0 || len(out)+len(v) > r.size {
				return corrupt("chunk size")
			}
			out = append(out, v...)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
