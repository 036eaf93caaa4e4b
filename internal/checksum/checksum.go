// Package checksum computes the checksums of a store's files.
package checksum

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Salted returns the CRC-32C of salt, place and b. The salt is a random number
// of the file: remains of an older file on the disk do not match it. place is
// the offset or the number of b in the file: one part of the file does not
// match in place of another.
func Salted(salt, place uint64, b ...[]byte) uint32 {
	// The salt and place are added here, because arguments of package crc32
	// escape to the heap, and that is too slow for 16 bytes per lookup.
	sum := ^step(step(^uint32(0), salt), place)
	for _, part := range b {
		sum = crc32.Update(sum, castagnoli, part)
	}
	return sum
}

// step adds the 8 bytes of n, lowest first.
func step(sum uint32, n uint64) uint32 {
	for range 8 {
		sum = castagnoli[byte(sum)^byte(n)] ^ sum>>8
		n >>= 8
	}
	return sum
}
