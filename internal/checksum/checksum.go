// Package checksum computes the checksums of a store's files.
package checksum

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Salted is the CRC-32C of salt, place and b. The salt is the file's own random
// number, so that what an older file left on the disk does not pass for a part of
// this one; the place is where in the file b stands, so that no part passes for
// another.
func Salted(salt, place uint64, b ...[]byte) uint32 {
	// Package crc32 lets what it is given escape to the heap, which 16 bytes for
	// every look-up are too many for.
	sum := ^step(step(^uint32(0), salt), place)
	for _, part := range b {
		sum = crc32.Update(sum, castagnoli, part)
	}
	return sum
}

// step takes in the 8 bytes of n, the lowest first.
func step(sum uint32, n uint64) uint32 {
	for range 8 {
		sum = castagnoli[byte(sum)^byte(n)] ^ sum>>8
		n >>= 8
	}
	return sum
}
