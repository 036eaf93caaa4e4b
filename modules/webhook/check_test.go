package webhook

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/event"
)

func TestCheckBody(t *testing.T) {
	nested := func(n int, open, shut string) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	tests := []struct {
		name, body string
		want       error
	}{
		{"object", ` {"a":[1,{"b":null}]} `, nil},
		{"empty object", `{}`, nil},
		{"nothing", ``, errJSON},
		{"white space", " \n", errJSON},
		{"array", `[{"workflow_id":"w"}]`, errNotObject},
		{"string", `"{}"`, errNotObject},
		{"number", `1`, errNotObject},
		{"null", `null`, errNotObject},
		{"two objects", `{}{}`, errJSON},
		{"cut off", `{"a":`, errJSON},
		{"trailing comma", `{"a":1,}`, errJSON},
		{"single quotes", `{'a':1}`, errJSON},
		{"byte order mark", "\ufeff{}", errJSON},
		{"NaN", `{"a":NaN}`, errJSON},
		{"leading zero", `{"a":01}`, errJSON},
		{"raw control character", "{\"a\":\"\x01\"}", errJSON},
		{"raw NUL after", "{}\x00", errJSON},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", errEncoding},
		{"UTF-16", "{\x00}\x00", errJSON},
		{"encoded surrogate", "{\"a\":\"\xed\xa0\x80\"}", errEncoding},
		{"huge number", `{"a":1e400}`, nil},
		{"lone surrogate", `{"a":"\ud800"}`, nil},
		{"depth at the limit", `{"a":` + nested(maxDepth-1, "[", "]") + `}`, nil},
		{"depth beyond the limit", `{"a":` + nested(maxDepth, "[", "]") + `}`, errTooDeep},
		{"depth 100,000", nested(100_000, "[", "]"), errTooDeep},
		{"depth 100,000 of objects", nested(100_000, `{"a":`, "}"), errTooDeep},
		{"ten million brackets", strings.Repeat("[", 10<<20), errTooDeep},
		{"many brackets side by side", `{"a":[` + strings.Repeat("[],", 5000) + `{}]}`, nil},
		{"brackets in strings", `{"a":"` + strings.Repeat(`[{\"`, 5000) + `\\"}`, nil},
	}
	for _, tt := range tests {
		if err := checkBody([]byte(tt.body)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// seeds are bodies that have broken JSON readers.
func seeds(f *testing.F) {
	for _, s := range []string{
		guideBody,
		`{"workflow_id":"w","event_type":"started"}`,
		`{"workflow_id":"w","execution_status":"success","timestamp":1e400}`,
		`{"workflow_id":"w","workflow_id":"x","type":"failed","type":null}`,
		`{"workflow_id":"\ud800","event_type":"\udc00\ud800"}`,
		`{"workflow_id":"\u0000","event_type":"a\u0000"}`,
		"\ufeff{\"workflow_id\":\"w\"}",
		"{\"workflow_id\":\"w\",\"event_type\":\"\x00\"}",
		"{\"workflow_id\":\"\xff\"}",
		strings.Repeat("[", 2000),
		strings.Repeat(`{"data":`, 1500) + "1" + strings.Repeat("}", 1500),
		`{"workflow_id":"w","event_type":"x","timestamp":-0,"data":{"agent_status":{"error_details":{"message":"\ud83d\ude00"}}}}`,
		`{"workflow_id":"w","type":"x","error":{"message":{"message":1}},"affected_agents":["a",["b"],"\ud800"]}`,
		`{"workflow_id":"w","type":"x","completed_agents":9007199254740993,"confidence_score":1e-400,"data":[[]]}`,
		`{"\u0077orkflow_id":"w","type":"x"}`, `{"":0}`, `[]`, `null`, `"`, `{`, ``,
	} {
		f.Add([]byte(s))
	}
}

// FuzzMap: whatever comes, it is refused or mapped to something that the log can
// keep and encoding/json can write.
func FuzzMap(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		err := checkBody(body)
		if err == nil != (json.Valid(body) && utf8.Valid(body) && firstByte(body) == '{') && !errors.Is(err, errTooDeep) {
			t.Fatalf("checkBody: %v, but encoding/json says valid: %v", err, json.Valid(body))
		}
		if err != nil {
			return
		}
		e := &event.Event{BodyDigest: sha256.Sum256(body)}
		bad := newOPAL(OPAL{}).Map(body, e)
		if bad != nil {
			return
		}
		for _, s := range []string{e.WorkflowID, e.Type, e.AgentID, e.WorkflowName, e.CorrelationID, e.ErrorMessage, e.Severity, e.Details.Timestamp} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is not valid UTF-8", s)
			}
		}
		if e.WorkflowID == "" || utf8.RuneCountInString(e.WorkflowID) > maxIdentifier || e.Kind == "" || e.DedupKey.IsZero() {
			t.Errorf("incomplete event %+v", e)
		}
		if _, err := json.Marshal(e.Details); err != nil {
			t.Error(err)
		}
		if _, err := new(event.Event).DecodeBinary(e.AppendBinary(nil)); err != nil {
			t.Error(err)
		}
		// The members that decide are those that encoding/json reads, which takes
		// the last of equal names too.
		var m map[string]any
		if json.Unmarshal(body, &m) == nil {
			if id, ok := m["workflow_id"].(string); !ok || id != e.WorkflowID {
				t.Errorf("workflow id %q, encoding/json reads %q", e.WorkflowID, id)
			}
		}
	})
}

// guideBody is a webhook of about 1 KiB as OPAL sends them.
var guideBody = `{"event_type":"agent_status_update","timestamp":"2024-11-13T14:32:15.123Z","workflow_id":"strategy_workflow_1699123456",` +
	`"agent_id":"personalization_idea_generator","correlation_id":"force-sync-1699123456-abc123","data":{"agent_status":{"previous_status":"running",` +
	`"current_status":"completed","execution_time_ms":45230,"confidence_score":0.87},"results":{"summary":"` + strings.Repeat("insight and advice ", 28) +
	`","scores":[0.1,0.2,0.3,0.4,0.5],"segments":[{"name":"new visitors","share":0.25},{"name":"returning","share":0.75}],"ok":true}}}`

func BenchmarkMap(b *testing.B) {
	body, mapping := []byte(guideBody), newOPAL(OPAL{})
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := checkBody(body); err != nil {
			b.Fatal(err)
		}
		e := &event.Event{BodyDigest: sha256.Sum256(body)}
		if bad := mapping.Map(body, e); bad != nil {
			b.Fatal(bad)
		}
	}
}
