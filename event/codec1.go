package event

import (
	"encoding/binary"
	"math"
	"time"
)

// decode1 decodes version 1: the fields follow each other without tags. Strings
// are prefixed with their lengths, and a mask says which details are present.
// Nothing writes this version.
func (e *Event) decode1(b []byte) (rest []byte, err error) {
	r := reader{b: b}
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
	e.Details.decode1(&r)
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

func (d *Details) decode1(r *reader) {
	mask := r.uvarint()
	next := func() bool {
		present := mask&1 != 0
		mask >>= 1
		return present
	}
	for _, s := range d.strings() {
		if next() {
			*s = r.string()
		}
	}
	for _, f := range d.floats() {
		if next() {
			var v float64
			if b := r.take(8); b != nil {
				v = math.Float64frombits(binary.BigEndian.Uint64(b))
			}
			*f = &v
		}
	}
	for _, n := range d.ints() {
		if next() {
			v := r.varint()
			*n = &v
		}
	}
	if next() {
		v := next()
		d.ResultsAvailable = &v
	} else {
		next()
	}
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
