package badger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/osa-edge/osa-gateway/event"
)

// The layout of the store. Every key begins with one byte that says what it is;
// numbers are big-endian, so that keys sort as numbers do; parts are strings
// behind their length (see appendPart).
//
//	key                                   value
//	e last                                block: the metas of consecutive events up to seq last (block.go)
//	b last                                the bodies of that block, where they are too large to stand in it
//	c id n                                chunk n of a large body or meta, staged under id (stage.go)
//	m id                                  marker: what is staged under id is not committed yet
//	d part(workspace) part(source) key    digest, seq: the newest event of that dedup key
//	D … key digest                        seq: an older event of that dedup key, with that other body
//	i field part(value) bucket            the bucket's events that have the term (posting.go)
//	k bucket through                      the terms that one projection brought to the bucket, for Prune
//	t bucket                              the bucket's events, and the first and last ReceivedAt of them
//	o part(collection) key                version, flags, value of a document
//	s name                                single values: see the metaX constants
//
// A bucket is a run of bucketSize sequence numbers. It is the unit in which
// indexes are written, intersected and forgotten: one small entry a term and
// bucket, however many events have the term.
const (
	kindBlock    = 'e'
	kindBodies   = 'b'
	kindChunk    = 'c'
	kindMarker   = 'm'
	kindDedup    = 'd'
	kindVariant  = 'D'
	kindPosting  = 'i'
	kindTerms    = 'k'
	kindTimes    = 't'
	kindDocument = 'o'
	kindMeta     = 's'
)

// Names of single values.
const (
	metaFormat    = 'f' // format number
	metaNewest    = 'v' // nothing: see Store.update
	metaIdentity  = 'i' // two random numbers: this store and no other, not the one that it was restored from either
	metaLog       = 'l' // first seq that is kept, last committed seq, last seq that may have been issued; written by Prune and Restore
	metaProjected = 'p' // the projector's cursor
	metaLease     = 'n' // numbers below it may have been used for versions and staging ids
	metaVariant   = 'x' // seq of the newest event with PayloadMismatch
)

// fieldWorkspace is the term that keeps workspaces apart; the others are those
// of package event.
const fieldWorkspace event.Field = 'W'

const (
	bucketBits = 11
	bucketSize = 1 << bucketBits
)

func bucketOf(seq uint64) uint64 { return seq >> bucketBits }

// maxPart is the longest string that stands in a key; a longer one is replaced
// by its hash.
const maxPart = 256

// hashedPart begins a hashed part. It is no length that a part can have: 256 is
// the largest, and written 0x80 0x02.
var hashedPart = [2]byte{0xff, 0xff}

func appendPart(dst []byte, s string) []byte {
	if len(s) > maxPart {
		sum := sha256.Sum256([]byte(s))
		return append(append(dst, hashedPart[:]...), sum[:]...)
	}
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

var errBadKey = errors.New("malformed key")

// cutPart takes a part off the front of b, its length included.
func cutPart(b []byte) (part, rest []byte, err error) {
	if len(b) >= 2 && [2]byte(b) == hashedPart {
		if len(b) < 2+sha256.Size {
			return nil, nil, errBadKey
		}
		return b[:2+sha256.Size], b[2+sha256.Size:], nil
	}
	n, w := binary.Uvarint(b)
	if w <= 0 || n > maxPart || uint64(len(b)-w) < n {
		return nil, nil, errBadKey
	}
	return b[:w+int(n)], b[w+int(n):], nil
}

func appendSeqKey(dst []byte, kind byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), seq)
}

func seqKey(kind byte, seq uint64) []byte { return appendSeqKey(make([]byte, 0, 9), kind, seq) }

func parseSeqKey(kind byte, key []byte) (uint64, error) {
	if len(key) != 9 || key[0] != kind {
		return 0, errBadKey
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func metaKey(name byte) []byte { return []byte{kindMeta, name} }

func chunkKey(id uint64, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendSeqKey(make([]byte, 0, 13), kindChunk, id), n)
}

func termsKey(bucket, through uint64) []byte {
	return binary.BigEndian.AppendUint64(appendSeqKey(make([]byte, 0, 17), kindTerms, bucket), through)
}

// parseTermsKey returns the bucket.
func parseTermsKey(key []byte) (bucket uint64, err error) {
	if len(key) != 17 || key[0] != kindTerms {
		return 0, errBadKey
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func appendDedupKey(dst []byte, e *event.Event) []byte {
	dst = append(dst, kindDedup)
	dst = appendPart(dst, e.WorkspaceID)
	dst = appendPart(dst, e.Source)
	return append(dst, e.DedupKey[:]...)
}

// appendVariantKey makes the key of a variant from that of its dedup key.
func appendVariantKey(dst, dedupKey []byte, digest event.Digest) []byte {
	dst = append(dst, kindVariant)
	dst = append(dst, dedupKey[1:]...)
	return append(dst, digest[:]...)
}

// dedupSize is the length of a dedup entry's value.
const dedupSize = len(event.Digest{}) + 8

func appendDedupValue(dst []byte, digest event.Digest, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, digest[:]...), seq)
}

func parseDedupValue(v []byte) (digest event.Digest, seq uint64, err error) {
	if len(v) != dedupSize {
		return digest, 0, corrupt("dedup entry")
	}
	copy(digest[:], v)
	return digest, binary.BigEndian.Uint64(v[len(digest):]), nil
}

// appendTerm is a term as it stands in keys, between the kind and the bucket.
func appendTerm(dst []byte, t event.Term) []byte {
	return appendPart(append(dst, byte(t.Field)), t.Value)
}

func appendPostingKey(dst, term []byte, bucket uint64) []byte {
	dst = append(dst, kindPosting)
	dst = append(dst, term...)
	return binary.BigEndian.AppendUint64(dst, bucket)
}

// parsePostingKey returns the term as appendTerm wrote it.
func parsePostingKey(key []byte) (term []byte, bucket uint64, err error) {
	if len(key) < 2+8 || key[0] != kindPosting {
		return nil, 0, errBadKey
	}
	part, rest, err := cutPart(key[2:])
	if err != nil || len(rest) != 8 {
		return nil, 0, errBadKey
	}
	return key[1 : 2+len(part)], binary.BigEndian.Uint64(rest), nil
}

func documentKey(collection, key string) []byte {
	dst := make([]byte, 0, 4+len(collection)+len(key))
	return append(appendPart(append(dst, kindDocument), collection), key...)
}

// parseDocumentKey returns the document's own key.
func parseDocumentKey(key []byte) ([]byte, error) {
	if len(key) < 1 || key[0] != kindDocument {
		return nil, errBadKey
	}
	_, rest, err := cutPart(key[1:])
	return rest, err
}
