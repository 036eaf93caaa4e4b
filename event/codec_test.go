package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
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
	if rapid.IntRange(0, 9).Draw(t, label+"?") == 0 {
		return d
	}
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
		BodyRef: str("ref"),
	}
	if rapid.IntRange(0, 3).Draw(t, "clocks") == 0 {
		e.ReceivedAt = time.Time{}
	}
	if rapid.Bool().Draw(t, "logged?") {
		e.LoggedAt = time.Unix(0, rapid.Int64().Draw(t, "logged")).UTC()
	}
	if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
		e.ErrorMessage = strings.Repeat("x", rapid.IntRange(100, 20_000).Draw(t, "length"))
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

// TestCodecPassesOver: a version that is newer may have added fields of any kind.
func TestCodecPassesOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		added := func(label string) (b []byte) {
			for range rapid.IntRange(0, 3).Draw(t, label) {
				number := rapid.Uint64Range(1000, 1<<60).Draw(t, "number") << 2
				switch rapid.IntRange(0, 2).Draw(t, "wire type") {
				case wireVarint:
					b = appendNumber(b, number|wireVarint, rapid.Uint64().Draw(t, "value"))
				case wireFixed:
					b = appendFixed(b, number|wireFixed, rapid.Uint64().Draw(t, "value"))
				case wireBytes:
					b = appendString(b, number|wireBytes, string(rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "value")))
				}
			}
			return b
		}
		fields := append(added("before"), want.appendFields(nil)...)
		fields = append(fields, added("behind")...)
		var got Event
		rest, err := got.DecodeBinary(encoded(fields))
		if err != nil || len(rest) != 0 || !reflect.DeepEqual(&got, want) {
			t.Fatalf("got %+v\nwant %+v, %v", got, want, err)
		}
	})
}

// encoded makes a record of fields.
func encoded(fields []byte) []byte {
	return append(binary.AppendUvarint([]byte{codecVersion}, uint64(len(fields))), fields...)
}

// TestCodecLimits: a damaged record is refused before it costs anything.
func TestCodecLimits(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<63)
	for name, b := range map[string][]byte{
		"record longer than what is there": append([]byte{codecVersion}, append(huge, 1, 2, 3)...),
		"string longer than the record":    encoded(append([]byte{tagSource}, append(huge, "abc"...)...)),
		"size beyond an int":               encoded(append([]byte{tagSize}, huge...)),
		"digest of another length":         encoded([]byte{tagDedupKey, 3, 1, 2, 3}),
		"longer digest":                    encoded(append([]byte{tagBodyDigest, 33}, make([]byte, 33)...)),
		"number without an end":            encoded(bytes.Repeat([]byte{0xff}, 20)),
		"unused wire type":                 encoded([]byte{9<<2 | 3, 1}),
		"cut number":                       encoded([]byte{tagReceivedAt, 1, 2, 3}),
		"tag without a value":              encoded([]byte{tagSize}),
		"no length":                        {codecVersion},
	} {
		if _, err := new(Event).DecodeBinary(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	score, yes, n := 0.5, true, int64(-3)
	full := Event{
		ReceivedAt: time.Unix(1772366400, 5), WorkspaceID: "ws", Source: "opal", Type: "agent_completed", Kind: KindAgentStatus,
		WorkflowID: "wf", AgentID: "geo_audit", Status: StatusFailed, ErrorMessage: "no", PayloadMismatch: true, ReplayOf: 7, Size: 12,
		Details: Details{Timestamp: "t", ConfidenceScore: &score, ResultsAvailable: &yes, CurrentPhase: &n, AffectedAgents: []string{"a", ""}},
	}
	for _, name := range []string{"codec_v1.hex", "codec_v2.hex"} {
		for _, b := range readGolden(f, name) {
			f.Add(b)
		}
	}
	f.Add(full.AppendBinary(nil))
	f.Add(new(Event).AppendBinary(nil))
	f.Add([]byte{})
	f.Add([]byte{codecVersion1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
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

func benchEvent() *Event { return goldenEvents()[1] }

func BenchmarkDecode(b *testing.B) {
	enc := benchEvent().AppendBinary(nil)
	b.SetBytes(int64(len(enc)))
	b.ReportAllocs()
	var e Event
	for b.Loop() {
		if _, err := e.DecodeBinary(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := benchEvent()
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendBinary(buf[:0])
	}
}
