// Package index finds the events of one segment of the log by their fields. It
// maps the hash of a term or of a dedup key to the positions of the events that
// have it, in memory and in files, and evaluates filters with these tables. A
// position is the number of an event in its segment, from 0.
//
// The package knows hashes and positions. It knows nothing of where events are
// stored.
package index

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/osa-edge/osa-gateway/event"
)

// FieldWorkspace is the field of the term for an event's workspace. It is added
// to those of event.Event.AppendTerms.
const FieldWorkspace event.Field = 'W'

// Seed is a random number that makes hashes unpredictable for senders. It is
// stored with the hashes.
type Seed uint64

// keyTag is the first byte that is hashed for a dedup key. For a term it is the
// field, which is a letter.
const keyTag = 0

// hashBuffer is the longest input that is hashed in one piece. A longer one is
// hashed in steps, with the same result.
const hashBuffer = 192

// Term returns the hash of a term: XXH64 of the seed, the field and the value.
func (s Seed) Term(t event.Term) uint64 {
	const head = 9
	if len(t.Value) <= hashBuffer-head {
		var buf [hashBuffer]byte
		binary.LittleEndian.PutUint64(buf[:], uint64(s))
		buf[8] = byte(t.Field)
		return xxhash.Sum64(buf[:head+copy(buf[head:], t.Value)])
	}
	var (
		buf [head]byte
		d   xxhash.Digest
	)
	binary.LittleEndian.PutUint64(buf[:], uint64(s))
	buf[8] = byte(t.Field)
	d.Reset()
	_, _ = d.Write(buf[:])
	_, _ = d.WriteString(t.Value)
	return d.Sum64()
}

// Key returns the hash of an event's workspace, source and dedup key. The names
// are prefixed with their lengths, so that different pairs have different
// inputs.
func (s Seed) Key(e *event.Event) uint64 {
	const head = 8 + 1 + 4 + 4
	var buf [hashBuffer]byte
	binary.LittleEndian.PutUint64(buf[:], uint64(s))
	buf[8] = keyTag
	binary.LittleEndian.PutUint32(buf[9:], uint32(len(e.WorkspaceID)))
	binary.LittleEndian.PutUint32(buf[13:], uint32(len(e.Source)))
	if len(e.WorkspaceID)+len(e.Source) <= hashBuffer-head-len(e.DedupKey) {
		n := head + copy(buf[head:], e.WorkspaceID)
		n += copy(buf[n:], e.Source)
		n += copy(buf[n:], e.DedupKey[:])
		return xxhash.Sum64(buf[:n])
	}
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(buf[:head])
	_, _ = d.WriteString(e.WorkspaceID)
	_, _ = d.WriteString(e.Source)
	_, _ = d.Write(e.DedupKey[:])
	return d.Sum64()
}
