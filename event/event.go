// Package event is the vocabulary of the gateway: what an event is, which kinds
// there are, how events are filtered and when two of them are the same. It does
// no I/O and knows nothing of Caddy or of any storage engine.
package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/osa-edge/osa-gateway/internal/sensitive"
)

// SourceGateway is the source of events that the gateway itself makes, such as
// the start of a Force Sync. They are not webhooks and are listed only when
// asked for by this source.
const SourceGateway = "gateway"

// Digest is a SHA-256 sum.
type Digest [32]byte

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether the digest was never set.
func (d Digest) IsZero() bool { return d == Digest{} }

// Event is one record of the log.
//
// Once an event has been handed to the log it is shared by everything that
// follows the log and must not be changed.
type Event struct {
	// Seq is the position in the log, given at the commit. Sequence numbers
	// ascend and may have holes; 0 means not committed.
	Seq uint64
	// ReceivedAt is when the request's headers had been read, in UTC.
	ReceivedAt time.Time
	// LoggedAt is the log's own time of the commit, which does not follow a clock
	// that steps. Retention goes by it; nothing else does.
	LoggedAt time.Time
	// WorkspaceID is the tenant that the event belongs to, as told by the
	// credential that brought it.
	WorkspaceID string
	// Source is the configured name of the sender ("opal", "ga4", …).
	Source string
	// Type is the event type as it was sent; may be empty.
	Type string
	// Kind is the canonical kind that Type was mapped to.
	Kind Kind
	// WorkflowID identifies the workflow's run.
	WorkflowID string
	// WorkflowName is the payload's, or the known name that WorkflowID begins with.
	WorkflowName string
	// AgentID is the agent as it was sent; comparisons ignore case.
	AgentID string
	// Status is the normalised status, or "".
	Status Status
	// Severity is the severity as sent, lower case, or "".
	Severity string
	// ErrorMessage is the sender's text of what went wrong, or "".
	ErrorMessage string
	// CorrelationID ties the event to the call that caused it.
	CorrelationID string
	// DedupKey is the idempotency key. With BodyDigest it makes an event unique
	// within its workspace and source.
	DedupKey Digest
	// BodyDigest is the SHA-256 of Body.
	BodyDigest Digest
	// PayloadMismatch is set at the commit when the log already held an event
	// of the same DedupKey with another body.
	PayloadMismatch bool
	// ReplayOf is the sequence number of the event that this one replays, or 0.
	ReplayOf uint64
	// Size is the length of the body in bytes.
	Size int
	// ProcessingTime is what passed from ReceivedAt until the event was handed
	// to the engine, measured with the monotonic clock. The wait for the disk
	// comes after it and is a metric of its own.
	ProcessingTime time.Duration
	// Details are the payload's fields that streams and projections use.
	Details Details
	// Body is the raw body, byte for byte. It is nil where an event was read
	// without its body.
	Body []byte
	// BodyRef is where the engine keeps a body that stands outside of the log's
	// own files; "" where it stands in them. It means something to the engine
	// alone.
	BodyRef string
}

// IsWebhook reports whether the event came in from outside: neither made by the
// gateway nor a replay.
func (e *Event) IsWebhook() bool { return e.Source != SourceGateway && e.ReplayOf == 0 }

// Priority is the event's priority: that of its severity, medium without one.
func (e *Event) Priority() Priority { return ParsePriority(e.Severity) }

// WithoutBody returns a shallow copy that does not hold on to the body.
func (e *Event) WithoutBody() *Event {
	c := *e
	c.Body = nil
	return &c
}

// record is the JSON form of an event, without its payload.
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

// MarshalJSON writes the record without its payload: docs/api.md §4's fields, with
// null for what the event does not have. The error's text shows no credentials.
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
	// Whoever encodes around it decides whether HTML is escaped.
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

// Milliseconds is a duration in milliseconds, to the microsecond.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
