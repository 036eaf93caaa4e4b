package event

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawPtr[T any](t *rapid.T, label string, gen *rapid.Generator[T]) *T {
	if rapid.Bool().Draw(t, label+"?") {
		return nil
	}
	v := gen.Draw(t, label)
	return &v
}

func drawDigest(t *rapid.T, label string) (d Digest) {
	copy(d[:], rapid.SliceOfN(rapid.Byte(), len(d), len(d)).Draw(t, label))
	return d
}

func drawEvent(t *rapid.T) *Event {
	str := func(label string) string {
		// Any bytes at all, not only valid UTF-8.
		return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, label))
	}
	e := &Event{
		ReceivedAt:  time.Unix(0, rapid.Int64().Draw(t, "received")).UTC(),
		WorkspaceID: str("workspace"), Source: str("source"), Type: str("type"), Kind: Kind(str("kind")),
		WorkflowID: str("workflow"), WorkflowName: str("name"), AgentID: str("agent"), Status: Status(str("status")),
		Severity: str("severity"), ErrorMessage: str("error"), CorrelationID: str("correlation"),
		DedupKey: drawDigest(t, "key"), BodyDigest: drawDigest(t, "body"),
		PayloadMismatch: rapid.Bool().Draw(t, "mismatch"), ReplayOf: rapid.Uint64().Draw(t, "replay"),
		Size: rapid.IntRange(0, math.MaxInt).Draw(t, "size"), ProcessingTime: time.Duration(rapid.Int64().Draw(t, "took")),
	}
	d := &e.Details
	for _, s := range d.strings() {
		*s = str("detail")
	}
	for _, f := range d.floats() {
		*f = drawPtr(t, "float", rapid.Float64())
	}
	for _, n := range d.ints() {
		*n = drawPtr(t, "int", rapid.Int64())
	}
	d.ResultsAvailable = drawPtr(t, "results", rapid.Bool())
	for range rapid.IntRange(0, 3).Draw(t, "affected") {
		d.AffectedAgents = append(d.AffectedAgents, str("affected"))
	}
	return e
}

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		before, after := []byte("before"), []byte("after")
		enc := want.AppendBinary(before)
		if !bytes.HasPrefix(enc, before) {
			t.Fatal("what was there is gone")
		}
		enc = append(enc[len(before):], after...)
		// What an event held before must not shine through.
		got := drawEvent(t)
		rest, err := got.DecodeBinary(enc)
		if err != nil || !bytes.Equal(rest, after) {
			t.Fatalf("rest %q, %v", rest, err)
		}
		clear(enc) // strings are copies
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

func TestCodecRefusesCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		enc := drawEvent(t).AppendBinary(nil)
		cut := rapid.IntRange(0, len(enc)-1).Draw(t, "cut")
		if _, err := new(Event).DecodeBinary(enc[:cut]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes of %d: %v", cut, len(enc), err)
		}
		enc[0]++
		if _, err := new(Event).DecodeBinary(enc); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("another version: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	score, yes, n := 0.5, true, int64(-3)
	full := Event{
		ReceivedAt: time.Unix(1772366400, 5), WorkspaceID: "ws", Source: "opal", Type: "agent_completed", Kind: KindAgentStatus,
		WorkflowID: "wf", AgentID: "geo_audit", Status: StatusFailed, ErrorMessage: "no", PayloadMismatch: true, ReplayOf: 7, Size: 12,
		Details: Details{Timestamp: "t", ConfidenceScore: &score, ResultsAvailable: &yes, CurrentPhase: &n, AffectedAgents: []string{"a", ""}},
	}
	f.Add(full.AppendBinary(nil))
	f.Add(new(Event).AppendBinary(nil))
	f.Add([]byte{})
	f.Add([]byte{codecVersion, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Event
		rest, err := e.DecodeBinary(b)
		if err != nil {
			return
		}
		if len(rest) > len(b) || e.Size < 0 {
			t.Fatalf("size %d, %d bytes left of %d", e.Size, len(rest), len(b))
		}
		enc := e.AppendBinary(nil)
		if _, err := again.DecodeBinary(enc); err != nil {
			t.Fatal(err)
		}
		// Bytes, not values: NaN is unlike itself.
		if !bytes.Equal(again.AppendBinary(nil), enc) {
			t.Fatalf("%+v was read as %+v", e, again)
		}
	})
}
