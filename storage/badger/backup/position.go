package backup

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
)

// Position identifies the state of a store after an event. Check is the start
// of that event's body digest. It detects a store that was reset to an older
// state and has used its sequence numbers again.
type Position struct {
	Store layout.Identity
	Seq   uint64
	Check uint64
}

// String returns the form that callers keep: identity, sequence number and
// check.
func (p Position) String() string { return fmt.Sprintf("%s-%d-%016x", p.Store, p.Seq, p.Check) }

// ParsePosition parses the output of String.
func ParsePosition(s string) (p Position, err error) {
	var id string
	if _, err := fmt.Sscanf(s, "%32s-%d-%16x", &id, &p.Seq, &p.Check); err == nil {
		var raw []byte
		if raw, err = hex.DecodeString(id); err == nil && len(raw) == len(p.Store) {
			p.Store = layout.Identity(raw)
		}
	}
	if p.String() != s {
		return Position{}, fmt.Errorf("%w: %q is no point that a backup of this version returned", storage.ErrBackupPosition, s)
	}
	return p, nil
}

// positionSize is the length of an encoded position.
const positionSize = 16 + 8 + 8

func (p Position) append(dst []byte) []byte {
	dst = append(dst, p.Store[:]...)
	dst = binary.BigEndian.AppendUint64(dst, p.Seq)
	return binary.BigEndian.AppendUint64(dst, p.Check)
}

// decodePosition decodes what append wrote.
func decodePosition(b []byte) (p Position) {
	copy(p.Store[:], b)
	p.Seq, p.Check = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	return p
}
