package badger

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/osa-edge/osa-gateway/storage"
)

// position identifies the state of a store after an event. check is the start
// of that event's body digest. It detects a store that was reset to an older
// state and has used its sequence numbers again.
type position struct {
	store identity
	seq   uint64
	check uint64
}

// String returns the form that callers keep: identity, sequence number and
// check.
func (p position) String() string { return fmt.Sprintf("%s-%d-%016x", p.store, p.seq, p.check) }

func parsePosition(s string) (p position, err error) {
	var id string
	if _, err := fmt.Sscanf(s, "%32s-%d-%16x", &id, &p.seq, &p.check); err == nil {
		var raw []byte
		if raw, err = hex.DecodeString(id); err == nil && len(raw) == len(p.store) {
			p.store = identity(raw)
		}
	}
	if p.String() != s {
		return position{}, fmt.Errorf("%w: %q is no point that a backup of this version returned", storage.ErrBackupPosition, s)
	}
	return p, nil
}

// positionSize is the length of an encoded position.
const positionSize = 16 + 8 + 8

func (p position) append(dst []byte) []byte {
	dst = append(dst, p.store[:]...)
	dst = binary.BigEndian.AppendUint64(dst, p.seq)
	return binary.BigEndian.AppendUint64(dst, p.check)
}

// decodePosition decodes what append wrote.
func decodePosition(b []byte) (p position) {
	copy(p.store[:], b)
	p.seq, p.check = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	return p
}
