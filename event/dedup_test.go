package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// The file's pairs are a JSON token and what JSON.stringify(JSON.parse(token))
// gives in V8.
func TestStringifyAsJavaScript(t *testing.T) {
	raw, err := os.ReadFile("testdata/stringify.json")
	if err != nil {
		t.Fatal(err)
	}
	var pairs [][2]string
	if err := json.Unmarshal(raw, &pairs); err != nil {
		t.Fatal(err)
	}
	if len(pairs) < 190 {
		t.Fatalf("only %d pairs", len(pairs))
	}
	for _, p := range pairs {
		if got := string(appendJSStringify(nil, p[0])); got != p[1] {
			t.Errorf("%s: got %s, want %s", p[0], got, p[1])
		}
	}
}

func FuzzStringify(f *testing.F) {
	for _, s := range []string{`"a"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\u000b\/"`, `-0`, `1e400`, `null`, `"`, `"\`, `"\u12`, `{}`, `1x`, `"\u2028"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if token == "" {
			return // an absent member
		}
		got := appendJSStringify(nil, token) // whatever it is, no panic
		if !json.Valid([]byte(token)) || strings.TrimSpace(token) != token || !utf8.ValidString(token) {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%s became %s", token, got)
		}
		if again := appendJSStringify(nil, string(got)); !bytes.Equal(again, got) {
			t.Fatalf("%s became %s and then %s", token, got, again)
		}
		if token[0] != '"' {
			return
		}
		var a, b string
		if json.Unmarshal([]byte(token), &a) != nil || json.Unmarshal(got, &b) != nil || a != b {
			t.Fatalf("%s says %q, %s says %q", token, a, got, b)
		}
	})
}

func TestOPALDedupKey(t *testing.T) {
	body := Digest{1, 2, 3}
	sum := func(s string) Digest { return sha256.Sum256([]byte(s)) }
	for _, c := range []struct {
		workflow, agent, timestamp, eventType string
		want                                  Digest
	}{
		{
			`"wf_1"`, `"geo_audit"`, `"2026-03-01T12:00:00Z"`, `"agent_completed"`,
			sum(`{"workflow_id":"wf_1","agent_id":"geo_audit","timestamp":"2026-03-01T12:00:00Z","event_type":"agent_completed"}`),
		},
		{`"wf_1"`, ``, `1730000000000`, `"completed"`, sum(`{"workflow_id":"wf_1","timestamp":1730000000000,"event_type":"completed"}`)},
		{`"wf_1"`, `null`, `1.0`, `null`, sum(`{"workflow_id":"wf_1","agent_id":null,"timestamp":1,"event_type":null}`)},
		{`"<\/wf\u0026>"`, ``, `"t"`, ``, sum(`{"workflow_id":"</wf&>","timestamp":"t"}`)},
		{`"wf_1"`, ``, ``, `"x"`, sum(`{"workflow_id":"wf_1","event_type":"x"}` + string(body[:]))},
		{`"wf_1"`, ``, `null`, `"x"`, sum(`{"workflow_id":"wf_1","timestamp":null,"event_type":"x"}` + string(body[:]))},
		{``, ``, `"t"`, ``, sum(`{"timestamp":"t"}`)},
	} {
		if got := OPALDedupKey(c.workflow, c.agent, c.timestamp, c.eventType, body); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

// Lists of parts have the same key only if they are the same list.
func TestDedupKeyParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringMatching(`[a:1-3]{0,4}`), 0, 4)
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		same := len(a) == len(b)
		for i := range min(len(a), len(b)) {
			same = same && a[i] == b[i]
		}
		if (DedupKey(a...) == DedupKey(b...)) != same {
			t.Fatalf("%q and %q", a, b)
		}
	})
}
