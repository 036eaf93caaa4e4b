package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/osa-edge/osa-gateway/storage"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A document's key is the length of its collection's name (2 bytes), the name and
// its own key. Its value is
//
//	crc32c of the key, crc32c of key, version and what it holds, version, what it holds
//
// The first tells a key that rotted, behind which another document is missing,
// from a value that did.
const documentHeader = 16

func collectionKey(collection string) []byte {
	dst := make([]byte, 0, 2+len(collection)+64)
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(collection))), collection...)
}

func documentKey(collection, key string) []byte { return append(collectionKey(collection), key...) }

// cutDocumentKey returns collection and key.
func cutDocumentKey(b []byte) (collection, key string, ok bool) {
	if len(b) < 2 || len(b) > 2+storage.MaxKey {
		return "", "", false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return "", "", false
	}
	return string(b[2 : 2+n]), string(b[2+n:]), true
}

func checksum(parts ...[]byte) (sum uint32) {
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

func encodeDocument(key []byte, version uint64, value []byte) []byte {
	b := make([]byte, documentHeader, documentHeader+len(value))
	b = append(b, value...)
	binary.BigEndian.PutUint64(b[8:], version)
	binary.BigEndian.PutUint32(b, checksum(key))
	binary.BigEndian.PutUint32(b[4:], checksum(key, b[8:]))
	return b
}

// keyIsWhole reports whether the value was written for this key.
func keyIsWhole(key, b []byte) bool {
	return len(b) >= documentHeader && binary.BigEndian.Uint32(b) == checksum(key)
}

// decodeDocument returns the version and a copy of the value.
func decodeDocument(key, b []byte) (version uint64, value []byte, err error) {
	if len(b) < documentHeader || len(b) > documentHeader+storage.MaxValue || binary.BigEndian.Uint32(b[4:]) != checksum(key, b[8:]) {
		return 0, nil, damaged("document %.80q: wrong checksum", key)
	}
	return binary.BigEndian.Uint64(b[8:]), append([]byte{}, b[documentHeader:]...), nil
}

// withChecksum returns the value with a checksum over key and value in front.
func withChecksum(key, value []byte) []byte {
	b := append(make([]byte, 4, 4+len(value)), value...)
	binary.BigEndian.PutUint32(b, checksum(key, value))
	return b
}

// verifyChecksum verifies the checksum and returns the value, which shares
// memory with b.
func verifyChecksum(key, b []byte) ([]byte, error) {
	if len(b) < 4 || len(b) > 4+storage.MaxValue || binary.BigEndian.Uint32(b) != checksum(key, b[4:]) {
		return nil, damaged("record %.80q: wrong checksum", key)
	}
	return b[4:], nil
}

// checkLimits returns storage.ErrTooLarge for keys and values beyond the
// limits.
func checkLimits(name, key string, value []byte) error {
	if len(name)+len(key) > storage.MaxKey {
		return fmt.Errorf("%w: a key of %d bytes in %.64q", storage.ErrTooLarge, len(key), name)
	}
	if len(value) > storage.MaxValue {
		return fmt.Errorf("%w: %.64q in %.64q takes %d bytes", storage.ErrTooLarge, key, name, len(value))
	}
	return nil
}
