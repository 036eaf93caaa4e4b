package event

import (
	"encoding/binary"
	"math"
	"time"
)

// decodeFields reads the fields of a record, in whatever order they stand. It
// says false for what is none.
func (e *Event) decodeFields(b []byte) bool {
	var (
		text     string // of b from textAt on: one copy that all strings are cut from
		textAt   = -1
		received int64
		logged   int64
		isLogged bool
	)
	for i := 0; i < len(b); {
		tag, n := uvarint(b[i:])
		if n <= 0 {
			return false
		}
		i += n
		switch tag & 3 {
		case wireVarint:
			v, n := uvarint(b[i:])
			if n <= 0 {
				return false
			}
			i += n
			switch tag {
			case tagLoggedAt:
				logged, isLogged = unzigzag(v), true
			default:
				if !e.setNumber(tag, v) {
					return false
				}
			}
		case wireFixed:
			if len(b)-i < 8 {
				return false
			}
			v := binary.BigEndian.Uint64(b[i:])
			i += 8
			if tag == tagReceivedAt {
				received = int64(v)
				e.ReceivedAt = time.Unix(0, received).UTC()
			} else {
				e.Details.setFloat(tag, v)
			}
		case wireBytes:
			size, n := uvarint(b[i:])
			if n <= 0 || size > uint64(len(b)-i-n) {
				return false
			}
			i += n
			end := i + int(size)
			switch tag {
			case tagDedupKey:
				if copy(e.DedupKey[:], b[i:end]) != len(e.DedupKey) || int(size) != len(e.DedupKey) {
					return false
				}
			case tagBodyDigest:
				if copy(e.BodyDigest[:], b[i:end]) != len(e.BodyDigest) || int(size) != len(e.BodyDigest) {
					return false
				}
			default:
				if textAt < 0 {
					text, textAt = string(b[i:]), i
				}
				e.setString(tag, text[i-textAt:end-textAt])
			}
			i = end
		default:
			return false
		}
	}
	if isLogged {
		e.LoggedAt = time.Unix(0, received+logged).UTC()
	}
	return true
}

// uvarint is binary.Uvarint with an inlined fast path for one byte.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// setNumber returns false for a value that is out of range.
func (e *Event) setNumber(tag, v uint64) bool {
	d := &e.Details
	switch tag {
	case tagMismatch:
		e.PayloadMismatch = v != 0
	case tagReplayOf:
		e.ReplayOf = v
	case tagSize:
		if v > math.MaxInt {
			return false
		}
		e.Size = int(v)
	case tagProcessing:
		e.ProcessingTime = time.Duration(unzigzag(v))
	case tagResults:
		is := v != 0
		d.ResultsAvailable = &is
	case tagCompleted:
		d.CompletedAgents = signed(v)
	case tagTotal:
		d.TotalAgents = signed(v)
	case tagFailed:
		d.FailedAgents = signed(v)
	case tagSuccessful:
		d.SuccessfulAgents = signed(v)
	case tagPhase:
		d.CurrentPhase = signed(v)
	}
	return true
}

func signed(v uint64) *int64 {
	n := unzigzag(v)
	return &n
}

func (d *Details) setFloat(tag, v uint64) {
	f := math.Float64frombits(v)
	switch tag {
	case tagExecutionTime:
		d.ExecutionTimeMS = &f
	case tagConfidence:
		d.ConfidenceScore = &f
	case tagProgress:
		d.ProgressPercentage = &f
	}
}

func (e *Event) setString(tag uint64, s string) {
	d := &e.Details
	switch tag {
	case tagWorkspaceID:
		e.WorkspaceID = s
	case tagSource:
		e.Source = s
	case tagType:
		e.Type = s
	case tagKind:
		e.Kind = Kind(s)
	case tagWorkflowID:
		e.WorkflowID = s
	case tagWorkflowName:
		e.WorkflowName = s
	case tagAgentID:
		e.AgentID = s
	case tagStatus:
		e.Status = Status(s)
	case tagSeverity:
		e.Severity = s
	case tagErrorMessage:
		e.ErrorMessage = s
	case tagCorrelationID:
		e.CorrelationID = s
	case tagBodyRef:
		e.BodyRef = s
	case tagTimestamp:
		d.Timestamp = s
	case tagPreviousStatus:
		d.PreviousStatus = s
	case tagCurrentStatus:
		d.CurrentStatus = s
	case tagEstimated:
		d.EstimatedCompletion = s
	case tagErrorType:
		d.ErrorType = s
	case tagRecovery:
		d.RecoveryAction = s
	case tagAffected:
		d.AffectedAgents = append(d.AffectedAgents, s)
	}
}
