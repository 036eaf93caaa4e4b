// Package event defines the events of the gateway: their fields, kinds and
// encoding, how they are filtered, and when two are duplicates. It does no I/O
// and knows nothing of Caddy or of storage engines.
package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/osa-edge/osa-gateway/internal/sensitive"
)

// SourceGateway is the source of events that the gateway creates, such as the
// start of a Force Sync. They are not webhooks, and are listed only if this
// source is asked for.
const SourceGateway = "gateway"

// Digest is a SHA-256 digest.
type Digest [32]byte

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether the digest is unset.
func (d Digest) IsZero() bool { return d == Digest{} }

// Event is one event of the log.
//
// After an event was passed to the log it must not be changed, because all
// readers share it.
type Event struct {
	// Seq is the sequence number, which the commit sets. Sequence numbers ascend
	// and may have gaps. 0 means not committed.
	Seq uint64
	// ReceivedAt is when the request's headers had been read, in UTC.
	ReceivedAt time.Time
	// LoggedAt is the time of the commit by the retention clock, which ignores
	// steps of the wall clock. Only retention uses it.
	LoggedAt time.Time
	// WorkspaceID is the tenant of the event, which the sender's credential
	// determines.
	WorkspaceID string
	// Source is the configured name of the sender ("opal", "ga4", …).
	Source string
	// Type is the event type as it was sent, or "".
	Type string
	// Kind is the kind that Type was mapped to.
	Kind Kind
	// WorkflowID is the id of the workflow's run.
	WorkflowID string
	// WorkflowName is the name in the payload, or the known name that WorkflowID
	// starts with.
	WorkflowName string
	// AgentID is the agent as it was sent. Comparisons ignore case.
	AgentID string
	// Status is the normalised status, or "".
	Status Status
	// Severity is the severity as it was sent, in lower case, or "".
	Severity string
	// ErrorMessage is the sender's error message, or "".
	ErrorMessage string
	// CorrelationID links the event to the call that caused it.
	CorrelationID string
	// DedupKey is the idempotency key. Together with BodyDigest it makes an event
	// unique in its workspace and source.
	DedupKey Digest
	// BodyDigest is the SHA-256 of Body.
	BodyDigest Digest
	// PayloadMismatch is set at the commit if the log already held an event with
	// the same DedupKey and another body.
	PayloadMismatch bool
	// ReplayOf is the sequence number of the event that this one replays, or 0.
	ReplayOf uint64
	// Size is the length of the body in bytes.
	Size int
	// ProcessingTime is the time from ReceivedAt until the event was passed to
	// the engine, by the monotonic clock. It does not include the disk write,
	// which has its own metric.
	ProcessingTime time.Duration
	// Details are the fields of the payload that streams and projections use.
	Details Details
	// Body is the raw body. It is nil if the event was read without its body.
	Body []byte
	// BodyRef is the engine's name of a body that is stored outside of the log's
	// files, or "".
	BodyRef string
}

// IsWebhook reports whether the event came from outside: it was not created by
// the gateway and is not a replay.
func (e *Event) IsWebhook() bool { return e.Source != SourceGateway && e.ReplayOf == 0 }

// Priority returns the priority of the event's severity, or medium.
func (e *Event) Priority() Priority { return ParsePriority(e.Severity) }

// WithoutBody returns a shallow copy without the body, so that the body can be
// freed.
func (e *Event) WithoutBody() *Event {
	c := *e
	c.Body = nil
	return &c
}

// record is the JSON form of an event without its payload.
type record struct {
	ID               string    `json:"id"`
	Seq              uint64    `json:"seq"`
	ReceivedAt       time.Time `json:"received_at"`
	WorkspaceID      string    `json:"workspace_id"`
	Source           string    `json:"source"`
	EventType        *string   `json:"event_type"`
	Kind             Kind      `json:"kind"`
	WorkflowID       string    `json:"workflow_id"`
	WorkflowName     *string   `json:"workflow_name"`
	AgentID          *string   `json:"agent_id"`
	Status           *string   `json:"status"`
	Severity         *string   `json:"severity"`
	ErrorMessage     *string   `json:"error_message"`
	CorrelationID    *string   `json:"correlation_id"`
	DedupHash        string    `json:"dedup_hash"`
	PayloadMismatch  bool      `json:"payload_mismatch"`
	ReplayOf         *string   `json:"replay_of"`
	Size             int       `json:"size"`
	ProcessingTimeMS float64   `json:"processing_time_ms"`
}

// MarshalJSON encodes the event without its payload: the fields of docs/api.md
// §4, with null for absent values. Credentials in the error message are masked.
func (e *Event) MarshalJSON() ([]byte, error) {
	r := record{
		ID: FormatID(e.Seq), Seq: e.Seq, ReceivedAt: e.ReceivedAt.UTC().Truncate(time.Microsecond),
		WorkspaceID: e.WorkspaceID, Source: e.Source, EventType: orNull(e.Type), Kind: e.Kind,
		WorkflowID: e.WorkflowID, WorkflowName: orNull(e.WorkflowName), AgentID: orNull(e.AgentID),
		Status: orNull(string(e.Status)), Severity: orNull(e.Severity), ErrorMessage: orNull(sensitive.Text(e.ErrorMessage, sensitive.Masked)),
		CorrelationID: orNull(e.CorrelationID), DedupHash: e.DedupKey.String(),
		PayloadMismatch: e.PayloadMismatch, Size: e.Size,
		ProcessingTimeMS: Milliseconds(e.ProcessingTime),
	}
	if e.ReplayOf != 0 {
		id := FormatID(e.ReplayOf)
		r.ReplayOf = &id
	}
	// The enclosing encoder decides whether HTML is escaped.
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Milliseconds returns a duration in milliseconds with microsecond precision.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
