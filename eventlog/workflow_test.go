package eventlog

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// TestFullestWorkflowState: whatever a sender invents, a state can be written.
func TestFullestWorkflowState(t *testing.T) {
	for name, text := range map[string]string{
		"html": "<", "control": "\x01", "quotes": `"`, "four bytes": "𝕏", "line separators": "\u2028", "invalid": "\xff", "plain": "x",
		"growing in lower case": "Ⱥ",
	} {
		t.Run(name, func(t *testing.T) {
			long := strings.Repeat(text, 20<<10/len(text))
			huge, n := -math.MaxFloat64, int64(math.MinInt64)
			w := new(WorkflowState)
			seq := uint64(0)
			for i := range 2*maxAgents + 7 {
				for _, status := range []event.Status{event.StatusStarting, event.StatusCompleted} {
					seq++
					w.apply(&event.Event{
						Seq: math.MaxUint64 - 10_000 + seq, ReceivedAt: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), WorkspaceID: long, WorkflowID: long,
						WorkflowName: long, CorrelationID: long, ErrorMessage: long, Kind: event.KindAgentStatus, Status: status,
						AgentID: fmt.Sprint(i) + long,
						Details: event.Details{
							EstimatedCompletion: long, ExecutionTimeMS: &huge, ConfidenceScore: &huge, TotalAgents: &n, CurrentPhase: &n,
						},
					})
				}
			}
			w.apply(&event.Event{
				Seq: math.MaxUint64, ReceivedAt: time.Now(), Kind: event.KindWorkflowCompletion, Status: event.StatusFailed, ErrorMessage: long,
				Details: event.Details{ExecutionTimeMS: &huge},
			})
			if len(w.Agents) != maxAgents {
				t.Fatalf("%d agents", len(w.Agents))
			}
			raw, err := w.AppendRecord(make([]byte, seqSize))
			if err != nil || len(raw) > storage.MaxValue {
				t.Fatalf("%d bytes, %v", len(raw), err)
			}
			if name != "plain" {
				return
			}
			// Texts that people write are not cut short of what there is room for.
			for _, a := range w.Agents {
				if len(a.ErrorMessage) != maxAgentError {
					t.Fatalf("an error of %d bytes", len(a.ErrorMessage))
				}
			}
			if len(w.ErrorMessage) != maxError {
				t.Fatalf("an error of %d bytes", len(w.ErrorMessage))
			}
		})
	}
}

func TestClip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		limit := rapid.IntRange(0, 200).Draw(t, "limit")
		got := clip(s, limit)
		if !strings.HasPrefix(s, got) || utf8.ValidString(s) != utf8.ValidString(got) && utf8.ValidString(s) {
			t.Fatalf("%q was cut to %q", s, got)
		}
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(raw))
		if len(plain)-2 > limit {
			t.Fatalf("%q takes %d bytes, limit %d", got, len(plain)-2, limit)
		}
	})
}

func TestWorkflowKeys(t *testing.T) {
	long := strings.Repeat("w", 100<<10)
	keys := map[string]bool{}
	for _, pair := range [][2]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"1", "1:1"}, {"a", long}, {"a" + long, ""}, {long, "a"}, {"b", long}} {
		key := workflowKey(pair[0], pair[1])
		if len(key)+len(workflows{}.Name()) > storage.MaxKey {
			t.Errorf("a key of %d bytes", len(key))
		}
		if keys[key] {
			t.Errorf("%.20q has the key of another", pair)
		}
		keys[key] = true
	}
}
