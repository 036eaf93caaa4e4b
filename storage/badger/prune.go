package badger

import (
	"context"
	"fmt"
	"time"

	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
)

const (
	// deletesPerTxn and deleteBytes bound a transaction of deletions.
	deletesPerTxn = 4096
	deleteBytes   = 768 << 10
)

// Prune implements storage.Store. It forgets whole blocks: one stays until all
// its events have expired.
//
// A block goes with its dedup keys, its bodies and the new beginning of the log
// in one transaction, so that no crash leaves an event without its dedup key or
// the reverse. What the index holds goes bucket by bucket once the log begins
// after it; nothing that is in it can be seen then.
func (s *Store) Prune(ctx context.Context, before time.Time, through uint64, limit int) (n int, more bool, err error) {
	if err := s.gate.enter(ctx); err != nil {
		return 0, false, err
	}
	defer s.gate.leave()
	// What is not in the index yet could not be taken out of it.
	through = min(through, s.projected.Load())
	for {
		if err := s.interrupted(ctx); err != nil {
			return n, true, err
		}
		step, done, err := s.pruneStep(before, through, limit-n)
		if err != nil {
			return n, false, fmt.Errorf("prune: %w", err)
		}
		n += step
		if done || n >= limit {
			more = !done
			break
		}
	}
	if err := s.pruneIndex(ctx); err != nil {
		return n, more, fmt.Errorf("prune index: %w", err)
	}
	return n, more, nil
}

// pruneStep removes blocks of about limit events, or as many as one transaction
// takes. done tells that none that may go are left.
func (s *Store) pruneStep(before time.Time, through uint64, limit int) (n int, done bool, err error) {
	s.front.Lock()
	defer s.front.Unlock()
	bounds := s.bounds()
	if bounds.First == 0 || bounds.First > bounds.Last {
		return 0, true, nil
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	p := pruning{txn: txn, careful: s.variant.Load() >= bounds.First}
	first, done, err := p.blocks(bounds.First, before, through, limit)
	if err != nil || p.n == 0 {
		return 0, true, err
	}
	if first == 0 {
		first = bounds.Last + 1
	}
	if err := setUints(txn, metaLog, first, bounds.Last, s.issued.Load()); err != nil {
		return 0, false, err
	}
	if err := s.commit(txn, false); err != nil {
		return 0, false, err
	}
	s.first.Store(first)
	return p.n, done, nil
}

// pruning is one transaction of Prune.
type pruning struct {
	txn     *bdg.Txn
	careful bool // a dedup key may speak of a newer event than the one that goes
	n       int
	deletes int
	bytes   int
}

// blocks removes blocks and returns the first seq that is left, or 0 if none is.
func (p *pruning) blocks(from uint64, before time.Time, through uint64, limit int) (first uint64, done bool, err error) {
	b := newBlocks(p.txn)
	defer b.close()
	for ok := b.seek(from); ok; ok = b.next() {
		if err := b.load(); err != nil {
			return 0, false, err
		}
		if b.block.last > through {
			return b.block.first, true, nil
		}
		// Four deletions an event are the most: two dedup keys, chunks aside.
		if p.n > 0 && (p.n >= limit || p.deletes+4*b.block.count > deletesPerTxn || p.bytes > deleteBytes) {
			return b.block.first, false, nil
		}
		expired, err := p.block(b, before)
		if err != nil {
			return 0, false, err
		}
		if !expired {
			return b.block.first, true, nil
		}
	}
	return 0, true, nil
}

// block removes the loaded block if all of it has expired.
func (p *pruning) block(b *blocks, before time.Time) (expired bool, err error) {
	var keys [][]byte
	for i := range b.block.count {
		e, err := b.event(i)
		if err != nil {
			return false, err
		}
		if !e.ReceivedAt.Before(before) {
			return false, nil
		}
		key := appendDedupKey(nil, e)
		if p.careful {
			newest := uint64(0)
			err := getValue(p.txn, key, func(v []byte) (err error) {
				if v != nil {
					_, newest, err = parseDedupValue(v)
				}
				return err
			})
			if err != nil {
				return false, err
			}
			if newest != e.Seq {
				key = appendVariantKey(nil, key, e.BodyDigest)
			}
		}
		keys = append(keys, key)
	}
	for _, r := range b.block.refs {
		keys = append(keys, chunkKeys(r)...)
	}
	keys = append(keys, seqKey(kindBlock, b.block.last))
	if !b.block.bodiesHere {
		keys = append(keys, seqKey(kindBodies, b.block.last))
	}
	for _, key := range keys {
		if err := p.txn.Delete(key); err != nil {
			return false, err
		}
		p.bytes += len(key) + 24
	}
	p.deletes += len(keys)
	p.n += b.block.count
	return true, nil
}

// pruneIndex removes the index of buckets that the log begins after. It goes by
// what Project noted under termsKey, and removes that last: where it was
// interrupted it begins again.
func (s *Store) pruneIndex(ctx context.Context) error {
	for {
		if err := s.interrupted(ctx); err != nil {
			return err
		}
		keys, err := s.deadIndexKeys()
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := s.deleteKeys(keys); err != nil {
			return err
		}
	}
}

// deadIndexKeys are the index entries of the first bucket that is dead, what
// tells of them last; none if no bucket is.
func (s *Store) deadIndexKeys() (keys [][]byte, err error) {
	first := bucketOf(s.first.Load())
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: []byte{kindTerms}})
	defer it.Close()
	it.Rewind()
	if !it.Valid() {
		return nil, nil
	}
	bucket, err := parseTermsKey(it.Item().Key())
	if err != nil || bucket >= first {
		return nil, err
	}
	keys = append(keys, seqKey(kindTimes, bucket))
	var last [][]byte
	for ; it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if b, err := parseTermsKey(key); err != nil || b != bucket {
			break
		}
		last = append(last, key)
		err := it.Item().Value(func(v []byte) error {
			return eachTerm(v, func(term []byte) error {
				keys = append(keys, appendPostingKey(nil, term, bucket))
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return append(keys, last...), nil
}
