package event

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// codecVersion is the first byte of an encoded event.
const codecVersion = 1

// ErrCorrupt is returned for bytes that are no encoded event.
var ErrCorrupt = errors.New("corrupt event record")

// AppendBinary appends the compact form of the event without its body and
// without Seq, which stores keep in the key.
func (e *Event) AppendBinary(dst []byte) []byte {
	dst = append(dst, codecVersion)
	var flags byte
	if e.PayloadMismatch {
		flags = 1
	}
	dst = append(dst, flags)
	dst = binary.AppendVarint(dst, e.ReceivedAt.UnixNano())
	for _, s := range [...]string{
		e.WorkspaceID, e.Source, e.Type, string(e.Kind), e.WorkflowID, e.WorkflowName, e.AgentID,
		string(e.Status), e.Severity, e.ErrorMessage, e.CorrelationID,
	} {
		dst = appendString(dst, s)
	}
	dst = append(dst, e.DedupKey[:]...)
	dst = append(dst, e.BodyDigest[:]...)
	dst = binary.AppendUvarint(dst, e.ReplayOf)
	dst = binary.AppendUvarint(dst, uint64(e.Size))
	dst = binary.AppendVarint(dst, int64(e.ProcessingTime))
	return e.Details.appendBinary(dst)
}

// DecodeBinary reads what AppendBinary wrote from the front of b and returns the
// rest. Strings are copied: b may be reused.
func (e *Event) DecodeBinary(b []byte) (rest []byte, err error) {
	r := reader{b: b}
	if r.byte() != codecVersion {
		return nil, ErrCorrupt
	}
	e.PayloadMismatch = r.byte()&1 != 0
	e.ReceivedAt = time.Unix(0, r.varint()).UTC()
	var kind, status string
	for _, p := range [...]*string{
		&e.WorkspaceID, &e.Source, &e.Type, &kind, &e.WorkflowID, &e.WorkflowName, &e.AgentID,
		&status, &e.Severity, &e.ErrorMessage, &e.CorrelationID,
	} {
		*p = r.string()
	}
	e.Kind, e.Status = Kind(kind), Status(status)
	copy(e.DedupKey[:], r.take(len(e.DedupKey)))
	copy(e.BodyDigest[:], r.take(len(e.BodyDigest)))
	e.ReplayOf = r.uvarint()
	size := r.uvarint()
	if size > math.MaxInt {
		r.fail()
	}
	e.Size = int(size)
	e.ProcessingTime = time.Duration(r.varint())
	e.Details.decode(&r)
	if r.failed {
		return nil, ErrCorrupt
	}
	return r.b, nil
}

// The bits of a Details' presence mask, in the order in which values follow it.
func (d *Details) strings() [6]*string {
	return [6]*string{
		&d.Timestamp, &d.PreviousStatus, &d.CurrentStatus, &d.EstimatedCompletion, &d.ErrorType, &d.RecoveryAction,
	}
}

func (d *Details) floats() [3]**float64 {
	return [3]**float64{&d.ExecutionTimeMS, &d.ConfidenceScore, &d.ProgressPercentage}
}

func (d *Details) ints() [5]**int64 {
	return [5]**int64{&d.CompletedAgents, &d.TotalAgents, &d.FailedAgents, &d.SuccessfulAgents, &d.CurrentPhase}
}

func (d *Details) appendBinary(dst []byte) []byte {
	var mask uint64
	bit := uint64(1)
	set := func(present bool) {
		if present {
			mask |= bit
		}
		bit <<= 1
	}
	for _, s := range d.strings() {
		set(*s != "")
	}
	for _, f := range d.floats() {
		set(*f != nil)
	}
	for _, n := range d.ints() {
		set(*n != nil)
	}
	set(d.ResultsAvailable != nil)
	set(d.ResultsAvailable != nil && *d.ResultsAvailable)
	set(len(d.AffectedAgents) > 0)

	dst = binary.AppendUvarint(dst, mask)
	for _, s := range d.strings() {
		if *s != "" {
			dst = appendString(dst, *s)
		}
	}
	for _, f := range d.floats() {
		if *f != nil {
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(**f))
		}
	}
	for _, n := range d.ints() {
		if *n != nil {
			dst = binary.AppendVarint(dst, **n)
		}
	}
	if len(d.AffectedAgents) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(d.AffectedAgents)))
		for _, a := range d.AffectedAgents {
			dst = appendString(dst, a)
		}
	}
	return dst
}

func (d *Details) decode(r *reader) {
	mask := r.uvarint()
	next := func() bool {
		present := mask&1 != 0
		mask >>= 1
		return present
	}
	for _, s := range d.strings() {
		*s = ""
		if next() {
			*s = r.string()
		}
	}
	for _, f := range d.floats() {
		*f = nil
		if next() {
			var v float64
			if b := r.take(8); b != nil {
				v = math.Float64frombits(binary.BigEndian.Uint64(b))
			}
			*f = &v
		}
	}
	for _, n := range d.ints() {
		*n = nil
		if next() {
			v := r.varint()
			*n = &v
		}
	}
	d.ResultsAvailable = nil
	if next() {
		v := next()
		d.ResultsAvailable = &v
	} else {
		next()
	}
	d.AffectedAgents = nil
	if next() {
		n := r.uvarint()
		if n > uint64(len(r.b)) { // every element takes a byte at least
			r.failed = true
			return
		}
		d.AffectedAgents = make([]string, n)
		for i := range d.AffectedAgents {
			d.AffectedAgents[i] = r.string()
		}
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// reader takes values off the front of b until one does not fit; then failed is
// set and everything else reads as zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) fail() { r.failed, r.b = true, nil }

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	return string(r.take(int(n)))
}
