package event

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// goldenEvents are a fixed set: nothing, a usual one, and one of everything.
// Version 1 knows neither LoggedAt nor BodyRef, and no ReceivedAt that is zero.
func goldenEvents() []*Event {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	digest := func(first byte) (d Digest) {
		for i := range d {
			d[i] = first + byte(i)
		}
		return d
	}
	ms, score, progress, yes, no := 81234.5, 0.875, 99.0, true, false
	ints := [...]int64{0, 9, -1, 1 << 40, 3}
	return []*Event{
		{ReceivedAt: time.Unix(0, 0).UTC()},
		{
			ReceivedAt: at, LoggedAt: at.Add(1500 * time.Microsecond),
			WorkspaceID: "ws_main", Source: "opal", Type: "agent_status_update", Kind: KindAgentStatus,
			WorkflowID: "strategy_workflow_1772366400123_0badcafe", WorkflowName: "strategy_workflow", AgentID: "geo_audit",
			Status: StatusCompleted, CorrelationID: "force-sync-1772366400-0badca", DedupKey: digest(1), BodyDigest: digest(100),
			Size: 1024, ProcessingTime: 345 * time.Microsecond,
			Details: Details{
				Timestamp: "2026-03-01T12:00:00Z", PreviousStatus: "starting", CurrentStatus: "completed",
				ExecutionTimeMS: &ms, ConfidenceScore: &score,
			},
		},
		{
			ReceivedAt: at, LoggedAt: at.Add(-time.Hour), // behind a clock that was ahead
			WorkspaceID: "ws", Source: "s", Type: "T", Kind: KindError, WorkflowID: "wf", WorkflowName: "n", AgentID: "a",
			Status: StatusFailed, Severity: "high", ErrorMessage: "no \xff text", CorrelationID: "c",
			DedupKey: digest(2), BodyDigest: digest(200), PayloadMismatch: true, ReplayOf: 1<<63 + 5, Size: 300 << 10,
			ProcessingTime: -1, BodyRef: "0123456789abcdef0123456789abcdef",
			Details: Details{
				Timestamp: "t", PreviousStatus: "p", CurrentStatus: "c", EstimatedCompletion: "e", ErrorType: "x", RecoveryAction: "r",
				AffectedAgents: []string{"a", "", strings.Repeat("long", 50)}, ExecutionTimeMS: &ms, ConfidenceScore: &score,
				ProgressPercentage: &progress, CompletedAgents: &ints[0], TotalAgents: &ints[1], FailedAgents: &ints[2],
				SuccessfulAgents: &ints[3], CurrentPhase: &ints[4], ResultsAvailable: &yes,
			},
		},
		{ReceivedAt: time.Unix(-1, 0).UTC(), ErrorMessage: strings.Repeat("many bytes ", 1700), Details: Details{ResultsAvailable: &no}},
	}
}

func readGolden(t testing.TB, name string) [][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for line := range strings.Lines(string(text)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// TestGolden: what was written once is read for ever.
func TestGolden(t *testing.T) {
	for _, name := range []string{"codec_v1.hex", "codec_v2.hex"} {
		golden := readGolden(t, name)
		want := goldenEvents()
		if len(golden) != len(want) {
			t.Fatalf("%s has %d events, want %d", name, len(golden), len(want))
		}
		for i, e := range want {
			if name == "codec_v1.hex" {
				e.LoggedAt, e.BodyRef = time.Time{}, ""
			}
			got := Event{LoggedAt: time.Unix(1, 1), BodyRef: "before", Source: "before"}
			rest, err := got.DecodeBinary(append(golden[i], "rest"...))
			if err != nil || string(rest) != "rest" {
				t.Fatalf("%s, event %d: rest %q, %v", name, i, rest, err)
			}
			if !reflect.DeepEqual(&got, e) {
				t.Errorf("%s, event %d: got %+v, want %+v", name, i, got, *e)
			}
		}
	}
}

// TestGoldenWritten: the bytes change with the version number alone.
func TestGoldenWritten(t *testing.T) {
	golden := readGolden(t, "codec_v2.hex")
	for i, e := range goldenEvents() {
		if got := e.AppendBinary(nil); !bytes.Equal(got, golden[i]) {
			t.Errorf("event %d is written as\n%x, was\n%x", i, got, golden[i])
		}
	}
}
