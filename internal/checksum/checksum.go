// Package checksum computes the checksums of a store's files.
package checksum

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Salted is the CRC-32C of salt, place and b. The salt is the file's own random
// number, so that what an older file left on the disk does not pass for a part of
// this one; the place is where in the file b stands, so that no part passes for
// another.
func Salted(salt, place uint64, b ...[]byte) uint32 {
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:], salt)
	binary.LittleEndian.PutUint64(head[8:], place)
	sum := crc32.Update(0, castagnoli, head[:])
	for _, part := range b {
		sum = crc32.Update(sum, castagnoli, part)
	}
	return sum
}
