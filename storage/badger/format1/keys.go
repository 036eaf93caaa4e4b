package format1

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// The layout of the store, as far as it is read here. Every key begins with one
// byte that says what it is; numbers are big-endian.
//
//	key                     value
//	e last                  block: the metas of consecutive events up to seq last (block.go)
//	b last                  the bodies of that block, where they are too large to stand in it
//	c id n                  chunk n of a large body or meta, staged under id
//	o part(collection) key  version, flags, value of a document
//	s name                  single values: see the metaX constants
//
// Dedup keys and indexes (D d i k t) are made anew, and so are the projector's
// cursor and what was staged and never committed (m).
const (
	kindBlock    = 'e'
	kindBodies   = 'b'
	kindChunk    = 'c'
	kindDocument = 'o'
	kindMeta     = 's'
)

// Names of single values.
const (
	metaFormat   = 'f' // format number
	metaIdentity = 'i' // two random numbers
	metaLog      = 'l' // first seq that is kept, last committed seq, last seq that may have been issued
	metaLease    = 'n' // numbers below it may have been used for versions
)

const formatNumber = 1

// maxPart is the longest string that stands in a key; a longer one is replaced
// by its hash, which these two bytes precede.
const maxPart = 256

var hashedPart = [2]byte{0xff, 0xff}

var errBadKey = errors.New("malformed key")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// corrupt is a storage.ErrDamaged.
func corrupt(what string) error {
	return fmt.Errorf("%w: %w: %s", storage.ErrDamaged, event.ErrCorrupt, what)
}

func appendSeqKey(dst []byte, kind byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), seq)
}

func seqKey(kind byte, seq uint64) []byte { return appendSeqKey(make([]byte, 0, 9), kind, seq) }

func parseBlockKey(key []byte) (uint64, error) {
	if len(key) != 9 || key[0] != kindBlock {
		return 0, errBadKey
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func chunkKey(id uint64, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendSeqKey(make([]byte, 0, 13), kindChunk, id), n)
}

// parseDocumentKey returns the document's collection and its own key.
func parseDocumentKey(key []byte) (collection, own string, err error) {
	if len(key) < 2 || key[0] != kindDocument {
		return "", "", errBadKey
	}
	b := key[1:]
	if len(b) >= 2+sha256.Size && [2]byte(b) == hashedPart {
		return "", "", fmt.Errorf("%w: the name of its collection is not kept", errBadKey)
	}
	n, w := binary.Uvarint(b)
	if w <= 0 || n > maxPart || uint64(len(b)-w) < n {
		return "", "", errBadKey
	}
	return string(b[w : w+int(n)]), string(b[w+int(n):]), nil
}

// getUints reads a single value of n numbers: zeros if it was never written.
func getUints(txn *bdg.Txn, name byte, n int) ([]uint64, error) {
	out := make([]uint64, n)
	item, err := txn.Get([]byte{kindMeta, name})
	if errors.Is(err, bdg.ErrKeyNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	err = item.Value(func(v []byte) error {
		if len(v) != 8*n {
			return corrupt(fmt.Sprintf("value %q", name))
		}
		for i := range out {
			out[i] = binary.BigEndian.Uint64(v[8*i:])
		}
		return nil
	})
	return out, err
}
