package badger

import (
	"encoding/binary"
	"errors"
	"fmt"

	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// settle puts a loaded store right. What changed since a version does not tell
// of deletions that Badger has dropped meanwhile, so what was pruned between two
// segments may be back: everything goes that the log begins after.
func settle(db *bdg.DB) error {
	var keys [][]byte
	err := db.View(func(txn *bdg.Txn) error {
		format, err := getUints(txn, metaFormat, 1)
		if err != nil {
			return err
		}
		if format[0] != formatNumber {
			return fmt.Errorf("%w: %d, this version knows %d", storage.ErrFormat, format[0], formatNumber)
		}
		log, err := getUints(txn, metaLog, 3)
		if err != nil {
			return err
		}
		keys, err = deadKeys(txn, log[0])
		return err
	})
	if err != nil {
		return err
	}
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	for _, key := range keys {
		if err := batch.Delete(key); err != nil {
			return err
		}
	}
	if err := batch.Flush(); err != nil {
		return err
	}
	return db.Update(func(txn *bdg.Txn) error {
		log, err := getUints(txn, metaLog, 3)
		if err != nil {
			return err
		}
		lease, err := getUints(txn, metaLease, 1)
		if err != nil {
			return err
		}
		tail, err := lastBlock(txn)
		if err != nil {
			return err
		}
		first, last, issued := log[0], max(log[1], tail), max(log[1], log[2], tail)
		return errors.Join(
			setUints(txn, metaLog, first, last, issued+restoreJump),
			setUints(txn, metaLease, lease[0]+restoreJump),
			setUints(txn, metaIdentity, newIdentity()...),
		)
	})
}

// deadKeys are the keys that speak of events before first, but for chunks, which
// blocks tell of.
func deadKeys(txn *bdg.Txn, first uint64) (keys [][]byte, err error) {
	it := txn.NewIterator(bdg.IteratorOptions{})
	defer it.Close()
	live := make(map[uint64]bool) // staged ids of live blocks
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		dead, err := isDead(item, first, live)
		if err != nil {
			return nil, err
		}
		if dead {
			keys = append(keys, item.KeyCopy(nil))
		}
	}
	// Chunks sort before blocks: they are looked at when live is known.
	it.Seek([]byte{kindChunk})
	for ; it.ValidForPrefix([]byte{kindChunk}); it.Next() {
		id := beUint64(it.Item().Key()[1:])
		if !live[id] {
			keys = append(keys, it.Item().KeyCopy(nil))
		}
	}
	return keys, nil
}

func isDead(item *bdg.Item, first uint64, live map[uint64]bool) (dead bool, err error) {
	key := item.Key()
	switch key[0] {
	case kindBlock:
		last, err := parseSeqKey(kindBlock, key)
		if err != nil || last < first {
			return true, err
		}
		var b block
		err = item.Value(func(v []byte) error { return b.parse(last, v) })
		for _, r := range b.refs {
			live[r.id] = true
		}
		return false, err
	case kindBodies:
		last, err := parseSeqKey(kindBodies, key)
		return last < first, err
	case kindMarker:
		return true, nil
	case kindDedup, kindVariant:
		seq := uint64(0)
		err = item.Value(func(v []byte) (err error) {
			_, seq, err = parseDedupValue(v)
			return err
		})
		return seq < first, err
	case kindPosting:
		_, bucket, err := parsePostingKey(key)
		return bucket < bucketOf(first), err
	case kindTimes, kindTerms:
		return len(key) >= 9 && beUint64(key[1:]) < bucketOf(first), nil
	}
	return false, nil
}

func beUint64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
