package event

import (
	"encoding/binary"
	"errors"
	"math"
)

// An encoded event is
//
//	version 2, length of the fields (uvarint), fields
//
// and a field is a tag (uvarint: its number times four, plus its wire type) and
// a value. What is empty is not written. Readers pass over what they do not
// know, so fields may be added; a number is never used for something else.
const (
	codecVersion  = 2
	codecVersion1 = 1 // see decode1
)

// Wire types. The fourth is not used; records with it are invalid.
const (
	wireVarint = 0 // uvarint; signed numbers in zigzag form
	wireFixed  = 1 // 8 bytes, big-endian
	wireBytes  = 2 // length (uvarint), bytes
)

// Tags. Those of the first 31 fields take one byte.
const (
	tagReceivedAt = 1<<2 | wireFixed  // nanoseconds since 1970
	tagLoggedAt   = 2<<2 | wireVarint // signed, nanoseconds after ReceivedAt
	tagDedupKey   = 3<<2 | wireBytes
	tagBodyDigest = 4<<2 | wireBytes
	tagMismatch   = 5<<2 | wireVarint
	tagReplayOf   = 6<<2 | wireVarint
	tagSize       = 7<<2 | wireVarint
	tagProcessing = 8<<2 | wireVarint // signed, nanoseconds

	tagWorkspaceID   = 9<<2 | wireBytes
	tagSource        = 10<<2 | wireBytes
	tagType          = 11<<2 | wireBytes
	tagKind          = 12<<2 | wireBytes
	tagWorkflowID    = 13<<2 | wireBytes
	tagWorkflowName  = 14<<2 | wireBytes
	tagAgentID       = 15<<2 | wireBytes
	tagStatus        = 16<<2 | wireBytes
	tagSeverity      = 17<<2 | wireBytes
	tagErrorMessage  = 18<<2 | wireBytes
	tagCorrelationID = 19<<2 | wireBytes
	tagBodyRef       = 20<<2 | wireBytes

	tagTimestamp      = 21<<2 | wireBytes
	tagPreviousStatus = 22<<2 | wireBytes
	tagCurrentStatus  = 23<<2 | wireBytes
	tagEstimated      = 24<<2 | wireBytes
	tagErrorType      = 25<<2 | wireBytes
	tagRecovery       = 26<<2 | wireBytes
	tagAffected       = 27<<2 | wireBytes // one an agent
	tagExecutionTime  = 28<<2 | wireFixed
	tagConfidence     = 29<<2 | wireFixed
	tagProgress       = 30<<2 | wireFixed
	tagResults        = 31<<2 | wireVarint
	tagCompleted      = 32<<2 | wireVarint // signed, as are those below
	tagTotal          = 33<<2 | wireVarint
	tagFailed         = 34<<2 | wireVarint
	tagSuccessful     = 35<<2 | wireVarint
	tagPhase          = 36<<2 | wireVarint
)

// ErrCorrupt is returned for bytes that are not an encoded event.
var ErrCorrupt = errors.New("corrupt event record")

// lengthSize is the usual size of the length.
const lengthSize = 2

// AppendBinary appends the binary form of the event, without its body and
// without Seq. Stores keep those elsewhere.
func (e *Event) AppendBinary(dst []byte) []byte {
	dst = append(dst, codecVersion, 0, 0)
	start := len(dst)
	dst = e.appendFields(dst)
	size := len(dst) - start
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(size))
	if n != lengthSize {
		if n > lengthSize {
			dst = append(dst, length[:n-lengthSize]...) // The content is overwritten.
		}
		copy(dst[start-lengthSize+n:], dst[start:start+size])
		dst = dst[:start-lengthSize+n+size]
	}
	copy(dst[start-lengthSize:], length[:n])
	return dst
}

// appendFields appends the strings last, because DecodeBinary keeps the memory
// from the first string on.
func (e *Event) appendFields(dst []byte) []byte {
	received := int64(0)
	if !e.ReceivedAt.IsZero() {
		received = e.ReceivedAt.UnixNano()
		dst = appendFixed(dst, tagReceivedAt, uint64(received))
	}
	if !e.LoggedAt.IsZero() {
		dst = appendNumber(dst, tagLoggedAt, zigzag(e.LoggedAt.UnixNano()-received))
	}
	if !e.DedupKey.IsZero() {
		dst = append(append(dst, tagDedupKey, byte(len(e.DedupKey))), e.DedupKey[:]...)
	}
	if !e.BodyDigest.IsZero() {
		dst = append(append(dst, tagBodyDigest, byte(len(e.BodyDigest))), e.BodyDigest[:]...)
	}
	if e.PayloadMismatch {
		dst = append(dst, tagMismatch, 1)
	}
	if e.ReplayOf != 0 {
		dst = appendNumber(dst, tagReplayOf, e.ReplayOf)
	}
	if e.Size != 0 {
		dst = appendNumber(dst, tagSize, uint64(e.Size))
	}
	if e.ProcessingTime != 0 {
		dst = appendNumber(dst, tagProcessing, zigzag(int64(e.ProcessingTime)))
	}
	dst = e.Details.appendNumbers(dst)
	dst = appendString(dst, tagWorkspaceID, e.WorkspaceID)
	dst = appendString(dst, tagSource, e.Source)
	dst = appendString(dst, tagType, e.Type)
	dst = appendString(dst, tagKind, string(e.Kind))
	dst = appendString(dst, tagWorkflowID, e.WorkflowID)
	dst = appendString(dst, tagWorkflowName, e.WorkflowName)
	dst = appendString(dst, tagAgentID, e.AgentID)
	dst = appendString(dst, tagStatus, string(e.Status))
	dst = appendString(dst, tagSeverity, e.Severity)
	dst = appendString(dst, tagErrorMessage, e.ErrorMessage)
	dst = appendString(dst, tagCorrelationID, e.CorrelationID)
	dst = appendString(dst, tagBodyRef, e.BodyRef)
	return e.Details.appendStrings(dst)
}

func (d *Details) appendNumbers(dst []byte) []byte {
	dst = appendFloat(dst, tagExecutionTime, d.ExecutionTimeMS)
	dst = appendFloat(dst, tagConfidence, d.ConfidenceScore)
	dst = appendFloat(dst, tagProgress, d.ProgressPercentage)
	if d.ResultsAvailable != nil {
		value := uint64(0)
		if *d.ResultsAvailable {
			value = 1
		}
		dst = appendNumber(dst, tagResults, value)
	}
	dst = appendInt(dst, tagCompleted, d.CompletedAgents)
	dst = appendInt(dst, tagTotal, d.TotalAgents)
	dst = appendInt(dst, tagFailed, d.FailedAgents)
	dst = appendInt(dst, tagSuccessful, d.SuccessfulAgents)
	return appendInt(dst, tagPhase, d.CurrentPhase)
}

func (d *Details) appendStrings(dst []byte) []byte {
	dst = appendString(dst, tagTimestamp, d.Timestamp)
	dst = appendString(dst, tagPreviousStatus, d.PreviousStatus)
	dst = appendString(dst, tagCurrentStatus, d.CurrentStatus)
	dst = appendString(dst, tagEstimated, d.EstimatedCompletion)
	dst = appendString(dst, tagErrorType, d.ErrorType)
	dst = appendString(dst, tagRecovery, d.RecoveryAction)
	for _, a := range d.AffectedAgents {
		dst = append(appendNumber(dst, tagAffected, uint64(len(a))), a...)
	}
	return dst
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func appendNumber(dst []byte, tag, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, tag), v)
}

func appendFixed(dst []byte, tag, v uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.AppendUvarint(dst, tag), v)
}

func appendString(dst []byte, tag uint64, s string) []byte {
	if s == "" {
		return dst
	}
	return append(appendNumber(dst, tag, uint64(len(s))), s...)
}

func appendFloat(dst []byte, tag uint64, f *float64) []byte {
	if f == nil {
		return dst
	}
	return appendFixed(dst, tag, math.Float64bits(*f))
}

func appendInt(dst []byte, tag uint64, n *int64) []byte {
	if n == nil {
		return dst
	}
	return appendNumber(dst, tag, zigzag(*n))
}

// DecodeBinary decodes the event at the front of b, in the current version or
// version 1, and returns the rest. It keeps Seq and Body and overwrites
// everything else. It copies strings, so b may be reused.
func (e *Event) DecodeBinary(b []byte) (rest []byte, err error) {
	*e = Event{Seq: e.Seq, Body: e.Body}
	if len(b) == 0 {
		return nil, ErrCorrupt
	}
	switch b[0] {
	case codecVersion1:
		return e.decode1(b[1:])
	case codecVersion:
	default:
		return nil, ErrCorrupt
	}
	size, n := binary.Uvarint(b[1:])
	if n <= 0 || size > uint64(len(b)-1-n) {
		return nil, ErrCorrupt
	}
	fields, rest := b[1+n:1+n+int(size)], b[1+n+int(size):]
	if !e.decodeFields(fields) {
		return nil, ErrCorrupt
	}
	return rest, nil
}
