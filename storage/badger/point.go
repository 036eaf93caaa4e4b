package badger

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/osa-edge/osa-gateway/storage"
)

// identity tells stores apart: a new one has its own, and so has a restored one.
type identity [2]uint64

func newIdentity() []uint64 {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return []uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// point is a state of a store: what it held at a version.
type point struct {
	store   identity
	version uint64
}

// String is the point as callers hold it: the identity in hexadecimal, the
// version.
func (p point) String() string {
	return fmt.Sprintf("%016x%016x-%d", p.store[0], p.store[1], p.version)
}

func parsePoint(s string) (p point, err error) {
	if _, err := fmt.Sscanf(s, "%16x%16x-%d", &p.store[0], &p.store[1], &p.version); err != nil || p.String() != s {
		return point{}, fmt.Errorf("%w: %q is no point that a backup returned", storage.ErrPoint, s)
	}
	return p, nil
}

// appendHead appends the head of a segment that begins after p.
func (p point) appendHead(dst []byte) []byte {
	dst = append(dst, backupMagic...)
	for _, n := range [...]uint64{p.store[0], p.store[1], p.version} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return dst
}

// parseHead reads what appendHead wrote.
func parseHead(head []byte) (p point) {
	head = head[len(backupMagic):]
	return point{
		store:   identity{binary.BigEndian.Uint64(head), binary.BigEndian.Uint64(head[8:])},
		version: binary.BigEndian.Uint64(head[16:]),
	}
}
