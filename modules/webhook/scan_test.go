package webhook

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
)

var walked = []string{
	`{}`, `{ }`, `[]`, `[ ]`, `{"a":1}`, ` {"a" : "b" , "c":[1,{"d":"}"}],"e":null}`, `{"\"":"\\","\\":"\"","a":"\\\\\""}`,
	`[1,"a", [2,"]"] ,{"b":"]}"},null,true,-1.5e3]`, `{"a":{},"b":[],"":""}`, `{"a":"\u0041","\u0062":2,"a":3}`,
	"{\t\"a\"\n:\r1\n}", `{"a":"\\"}`, `{"a":"x\\","b":"\\\"\\"}`, `["\\","\"",""]`, `{"a":"\"\"\"","b":"\\n\\\\"}`,
}

// FuzzWalk compares the walk with gjson's.
func FuzzWalk(f *testing.F) {
	for _, s := range walked {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { compareWalks(t, s) })
}

// TestWalkModel is the same with JSON that is made, of all kinds of strings, white
// space and nesting.
func TestWalkModel(t *testing.T) {
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
	text := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "é", `\\`, `\"`, `\u0041`, `\ud83d\ude00`, "{", "}", "[", "]", ",", ":", " "}), 0, 8),
		func(parts []string) string { return `"` + strings.Join(parts, "") + `"` })
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			kind := rapid.IntRange(0, 5).Draw(t, "kind")
			switch depth {
			case 0:
				kind = 2 + rapid.IntRange(0, 2).Draw(t, "kind")
			case 3:
				kind %= 3
			}
			sp := func() string { return space.Draw(t, "space") }
			switch kind {
			case 0, 1:
				parts := make([]string, rapid.IntRange(0, 4).Draw(t, "n"))
				for i := range parts {
					if kind == 0 {
						parts[i] = sp() + text.Draw(t, "name") + sp() + ":"
					}
					parts[i] += sp() + value(depth-1).Draw(t, "value") + sp()
				}
				brackets := [2]string{"{}", "[]"}[kind]
				inner := strings.Join(parts, ",")
				if inner == "" {
					inner = sp()
				}
				return brackets[:1] + inner + brackets[1:]
			case 2:
				return text.Draw(t, "text")
			}
			return rapid.SampledFrom([]string{"null", "true", "-1.5e3", "0"}).Draw(t, "plain")
		})
	}
	rapid.Check(t, func(t *rapid.T) { compareWalks(t, value(3).Draw(t, "json")) })
}

func compareWalks(t interface{ Errorf(string, ...any) }, s string) {
	if checkBody([]byte(`{"a":`+s+`}`)) != nil {
		return
	}
	s = strings.TrimSpace(s)
	var want, got []string
	gjson.Parse(s).ForEach(func(name, value gjson.Result) bool {
		if len(name.Raw) <= longestName+2 {
			want = append(want, fmt.Sprintf("%q %s", name.Str, value.Raw))
		}
		return true
	})
	switch s[0] {
	case '{':
		eachField(s, func(name, value string) { got = append(got, fmt.Sprintf("%q %s", name, value)) })
	case '[':
		eachElement(s, func(value string) bool {
			got = append(got, fmt.Sprintf("%q %s", "", value))
			return true
		})
	case '"':
		for _, limit := range []int{0, 1, 5, 256} {
			whole := clip(gjson.Parse(s).Str, limit)
			if cut := text(s, limit); cut != whole {
				t.Errorf("%d of %s: %q, want %q", limit, s, cut, whole)
			}
		}
		return
	default:
		return
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", s, got, want)
	}
}

// TestTextIsCut: a long text with escapes is not unescaped whole, and what is
// taken of it is the same.
func TestTextIsCut(t *testing.T) {
	for _, unit := range []string{"a", `\n`, `\u0041`, `\u20ac`, "€", "😀", `\ud83d\ude00`, `\ud83d`, `a\\`, `\"`, `x\u0000`} {
		for _, n := range []int{0, 1, 100, 20_000} {
			for lead := range 13 {
				token := `"` + strings.Repeat("b", lead) + strings.Repeat(unit, n) + `"`
				for _, limit := range []int{1, 2, 3, 4, 255, 256, maxErrorMessage} {
					if got, want := text(token, limit), clip(gjson.Parse(token).Str, limit); got != want {
						t.Fatalf("%d × %q behind %d, limit %d: %d bytes, want %d", n, unit, lead, limit, len(got), len(want))
					}
				}
			}
		}
	}
	long := `"` + strings.Repeat(`\n`, 4<<20) + `"`
	body := []byte(`{"workflow_id":"w","event_type":"error","data":{"error_message":` + long + `,"severity":` + long + `,"affected_agents":[` + long + `]}}`)
	if err := checkBody(body); err != nil {
		t.Fatal(err)
	}
	m := newOPAL(OPAL{})
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Map(body, new(event.Event))
		}
	})
	if n := r.AllocedBytesPerOp(); n > 1<<20 {
		t.Errorf("mapping a body of %d MiB allocates %d KiB", len(body)>>20, n>>10)
	}
}
