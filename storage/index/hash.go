// Package index finds the events of one segment of the log by what they say: it
// holds tables from the hash of a term, or of a dedup key, to the positions of
// the events that have it, in memory and as parts of files, and evaluates filters
// over them. A position is an event's number within its segment, from 0.
package index

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/osa-edge/osa-gateway/event"
)

// FieldWorkspace is the field of the term that says which workspace an event
// belongs to. It stands beside those of event.Event.AppendTerms.
const FieldWorkspace event.Field = 'W'

// Seed makes hashes that a sender cannot foresee: random, and kept with whatever
// was hashed by it.
type Seed uint64

// Two kinds of values are hashed; the first byte tells them apart. Fields of
// terms are letters.
const keyTag = 0

// hashBuffer holds what is hashed in one piece; anything longer is hashed in
// steps, to the same sum.
const hashBuffer = 192

// Term is the hash of a term: XXH64 of the seed, the field and the value.
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

// Key is the hash of what makes a delivery known again: workspace, source and
// dedup key. Lengths go in front of the names, so that no two pairs of them run
// together.
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
