package badger

import (
	"encoding/binary"
	"fmt"

	"github.com/osa-edge/osa-gateway/internal/failpoint"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
)

// Large parts of events do not fit a transaction. They are written ahead of the
// commit in chunks, under an id and a marker; the transaction that commits the
// event removes the marker. What still has one when the store opens was never
// committed, and goes.
const (
	chunkBytes = 256 << 10
	// stageBytes is what one transaction of chunks takes.
	stageBytes = 4 * chunkBytes
)

// stage writes data in chunks and returns the id to refer to it by.
func (s *Store) stage(data []byte) (id uint64, err error) {
	if id, err = s.number(); err != nil {
		return 0, err
	}
	marker := seqKey(kindMarker, id)
	for n := uint32(0); len(data) > 0; {
		err := s.update(false, func(txn *bdg.Txn) error {
			if err := txn.Set(marker, nil); err != nil {
				return err
			}
			for size := 0; len(data) > 0 && size < stageBytes; n++ {
				chunk := data[:min(len(data), chunkBytes)]
				if err := txn.Set(chunkKey(id, n), chunk); err != nil {
					return err
				}
				size += len(chunk)
				data = data[len(chunk):]
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("staging a large part: %w", err)
		}
		failpoint.Hit("stage.part")
	}
	return id, nil
}

// readStaged reads what stage wrote.
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

// chunkKeys are the keys of a staged part.
func chunkKeys(r staged) [][]byte {
	var keys [][]byte
	for n, left := uint32(0), r.size; left > 0; n, left = n+1, left-chunkBytes {
		keys = append(keys, chunkKey(r.id, n))
	}
	return keys
}

// sweepStaged removes what was staged and never committed.
func (s *Store) sweepStaged() error {
	var ids []uint64
	err := s.db.View(func(txn *bdg.Txn) error {
		return eachKey(txn, []byte{kindMarker}, func(key []byte) error {
			id, err := parseSeqKey(kindMarker, key)
			ids = append(ids, id)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.deletePrefix(binary.BigEndian.AppendUint64([]byte{kindChunk}, id)); err != nil {
			return err
		}
		if err := s.update(false, func(txn *bdg.Txn) error { return txn.Delete(seqKey(kindMarker, id)) }); err != nil {
			return err
		}
	}
	return nil
}

// eachKey calls fn with every key that begins with prefix; it may keep none.
func eachKey(txn *bdg.Txn, prefix []byte, fn func(key []byte) error) error {
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := fn(it.Item().Key()); err != nil {
			return err
		}
	}
	return nil
}

// deletePrefix deletes all keys that begin with prefix, in as many transactions
// as that takes.
func (s *Store) deletePrefix(prefix []byte) error {
	var keys [][]byte
	err := s.db.View(func(txn *bdg.Txn) error {
		return eachKey(txn, prefix, func(key []byte) error {
			keys = append(keys, append([]byte(nil), key...))
			return nil
		})
	})
	if err != nil {
		return err
	}
	return s.deleteKeys(keys)
}

// deleteKeys deletes keys in steps that fit a transaction.
func (s *Store) deleteKeys(keys [][]byte) error {
	for len(keys) > 0 {
		n := min(len(keys), deletesPerTxn)
		err := s.update(false, func(txn *bdg.Txn) error {
			for _, key := range keys[:n] {
				if err := txn.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}
