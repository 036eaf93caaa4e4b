package sensitive

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mask(body string) string { return string(AppendMasked(nil, []byte(body), Masked)) }

func TestAppendMasked(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":1}`:                                `{"a":1}`,
		`{"token":"x"}`:                          `{"token":"***"}`,
		" { \"API-Key\" :\t\"x\" , \"b\": 2 }\n": " { \"API-Key\" :\t\"***\" , \"b\": 2 }\n",
		// Numbers, booleans and null stay.
		`{"access_token":1e400,"password":true,"pwd":null,"pin":12 }`:            `{"access_token":1e400,"password":true,"pwd":null,"pin":12 }`,
		`{"total_tokens":1234,"usage":{"prompt_tokens":"12","tokens":5}}`:        `{"total_tokens":1234,"usage":{"prompt_tokens":"12","tokens":5}}`,
		`{"n":1e400,"n":-0.10,"s":"\ud800\u0000","big":12345678901234567890123}`: `{"n":1e400,"n":-0.10,"s":"\ud800\u0000","big":12345678901234567890123}`,
		// Below a secret's name every string is masked, and nothing else.
		`{"data":[{"deep":{"clientSecret":"a\"b","n":1}}]}`:               `{"data":[{"deep":{"clientSecret":"***","n":1}}]}`,
		`{"credentials":{"user":"u","more":["}",{"x":"]"},2]},"after":1}`: `{"credentials":{"user":"***","more":["***",{"x":"***"},2]},"after":1}`,
		`{"secrets":["a","b"],"token":[]}`:                                `{"secrets":["***","***"],"token":[]}`,
		`{"\u0074oken":"x","tok\u0065n":"y"}`:                             `{"\u0074oken":"***","tok\u0065n":"***"}`,
		`{"session_id":"x","sessionId":"y","session":"open"}`:             `{"session_id":"***","sessionId":"***","session":"open"}`,
		`{"Authorization":"Bearer x","auth":{"k":"v"},"author":"me"}`:     `{"Authorization":"***","auth":{"k":"***"},"author":"me"}`,
		`{"cardNumber":"4111","cvv":"123","iban":"DE00","company":"pan"}`: `{"cardNumber":"***","cvv":"***","iban":"***","company":"pan"}`,
		`["token","secret",{"x":"password"}]`:                             `["token","secret",{"x":"password"}]`,
		// Pairs of name and value, in either order.
		`[{"name":"Authorization","value":"Basic x"},{"name":"Accept","value":"*/*"}]`:        `[{"name":"Authorization","value":"***"},{"name":"Accept","value":"*/*"}]`,
		`[{"value":"x","key":"api_key"}]`:                                                     `[{"value":"***","key":"api_key"}]`,
		`[{"value":{"a":["x",1]},"b":"c","key":"api_key"}]`:                                   `[{"value":{"a":["***",1]},"b":"c","key":"api_key"}]`,
		`[{"value":{"value":{"value":"x"},"name":"plain"},"key":"token"},{"value":"y"}]`:      `[{"value":{"value":{"value":"***"},"name":"***"},"key":"token"},{"value":"y"}]`,
		`[{"value":"a","content":"b","c":"d","header":"Cookie"}]`:                             `[{"value":"***","content":"***","c":"***","header":"***"}]`,
		`{"name":"Password reset email","content":"Hi"}`:                                      `{"name":"Password reset email","content":"Hi"}`,
		`{"headers":[["Authorization","x"],["Accept","y"],["Cookie","a","b"],["a","token"]]}`: `{"headers":[["Authorization","***"],["Accept","y"],["Cookie","***","b"],["a","token"]]}`,
		`{"name":"token","value":12}`:                                                         `{"name":"token","value":12}`,
		// JSON in strings.
		`{"x":"{\"token\":\"y\",\"n\":1}"}`:                `{"x":"{\"token\":\"***\",\"n\":1}"}`,
		`{"x":"{\"a\":\"{\\\"password\\\":\\\"z\\\"}\"}"}`: `{"x":"{\"a\":\"{\\\"password\\\":\\\"***\\\"}\"}"}`,
		`{"x":"{\"a\": 1, \"b\":\"\\u0063\"}"}`:            `{"x":"{\"a\": 1, \"b\":\"\\u0063\"}"}`,
		`{"x":"\"token\":\"y\""}`:                          `{"x":"\"token\":\"***\""}`,
		// Values that show what they are.
		`{"note":"sent Bearer abc1 twice","u":"https://me:pw@h/x?api_key=a&b=c"}`: `{"note":"sent Bearer *** twice","u":"https://***@h/x?api_key=***&b=c"}`,
		`{"card":"4111 1111 1111 1111","id":"4111111111111112"}`:                  `{"card":"***","id":"4111111111111112"}`,
		`{"a":"AKIAIOSFODNN7EXAMPLE","b":"opal_prod_abcdef"}`:                     `{"a":"***","b":"***"}`,
		`{"opal_prod_abcdef":1}`: `{"***":1}`,
		`"token"`:                `"token"`,
		``:                       `null`,
		`token=abc`:              `null`,
		`{"token":"x"`:           `null`,
		"{\"a\":\"\xff\"}":       `null`,
	} {
		if got := mask(body); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

func TestAppendMaskedEmbedded(t *testing.T) {
	body := `{"password":"s3cr3t"}`
	for level := range 12 {
		body = `{"x":` + strconv.Quote(body) + `}`
		if got := mask(body); strings.Contains(got, "s3cr3t") || !json.Valid([]byte(got)) {
			t.Errorf("%d levels: %s", level+1, got)
		}
	}
}

func TestAppendMaskedLarge(t *testing.T) {
	nested := `{"a":` + strings.Repeat(`[`, 9000) + `{"token":"x"}` + strings.Repeat(`]`, 9000) + `}`
	if got := mask(nested); got != strings.Replace(nested, `"x"`, `"***"`, 1) {
		t.Error("nested 9000 deep: not masked")
	}
	for name, body := range map[string]string{
		"ten million brackets": strings.Repeat("[", 10<<20),
		"beyond all depth":     strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
	} {
		if got := mask(body); got != "null" {
			t.Errorf("%s: %.20s", name, got)
		}
	}
	for name, body := range map[string]string{
		"wide":               `{"rows":[` + strings.Repeat(`{"id":1,"secret":"s3cr3t"},`, 100_000) + `{}]}`,
		"secrets in secrets": strings.Repeat(`{"token":`, 9000) + `"s3cr3t"` + strings.Repeat(`}`, 9000),
		"pairs in pairs":     strings.Repeat(`{"value":`, 9000) + `"s3cr3t"` + strings.Repeat(`,"name":"token"}`, 9000),
		"values":             `{` + strings.Repeat(`"value":"s3cr3t",`, 100_000) + `"name":"token"}`,
		"inner arrays":       `[` + strings.Repeat(`["token","s3cr3t"],`, 100_000) + `[]]`,
		"one string":         `["` + strings.Repeat(`token=s3cr3t `, 100_000) + `"]`,
		"escapes":            `["` + strings.Repeat(`\"token\":\"s3cr3t\" `, 100_000) + `"]`,
	} {
		if got := mask(body); !json.Valid([]byte(got)) || strings.Contains(got, "s3cr3t") {
			t.Errorf("%s: not masked", name)
		}
	}
}

// tree is a random JSON value. Strings have hidden in them below sensitive names
// only, where it stands in every string.
func tree(depth int, secret bool) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 4
		if depth > 0 {
			kinds = 6
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			if secret {
				return "hidden" + rapid.String().Draw(t, "string")
			}
			return rapid.StringMatching(`[a-z \\"é\n]{0,12}`).Draw(t, "string")
		case 1:
			return rapid.Float64().Draw(t, "number")
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return nil
		case 4:
			return rapid.SliceOfN(tree(depth-1, secret), 0, 4).Draw(t, "array")
		}
		object := rapid.MapOfN(rapid.StringMatching(`[a-c":\\ é]{0,6}`), tree(depth-1, secret), 0, 4).Draw(t, "object")
		if rapid.Bool().Draw(t, "sensitive") {
			name := rapid.SampledFrom([]string{"token", "API_Key", "client-secret", "a\"password\"", "session.id"}).Draw(t, "name")
			object[name] = tree(depth-1, true).Draw(t, "below")
		}
		return object
	})
}

func TestAppendMaskedRandom(t *testing.T) {
	var hide func(v any, secret bool) any
	hide = func(v any, secret bool) any {
		switch v := v.(type) {
		case string:
			if secret {
				return Masked
			}
		case []any:
			for i := range v {
				v[i] = hide(v[i], secret)
			}
		case map[string]any:
			for k := range v {
				v[k] = hide(v[k], secret || Name(k))
			}
		}
		return v
	}
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(tree(4, false).Draw(t, "tree"))
		if err != nil {
			t.Fatal(err)
		}
		var v, again any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(hide(v, false))
		got := AppendMasked(nil, body, Masked)
		if err := json.Unmarshal(got, &again); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		if got, _ := json.Marshal(again); !bytes.Equal(got, want) || bytes.Contains(got, []byte("hidden")) {
			t.Fatalf("%s\n got %s\nwant %s", body, got, want)
		}
	})
}

// skeleton is a JSON text without the insides of its strings.
func skeleton(b []byte) string {
	var out strings.Builder
	in := false
	for i := 0; i < len(b); i++ {
		switch {
		case in && b[i] == '\\':
			i++
		case b[i] == '"':
			in = !in
			out.WriteByte('"')
		case !in:
			out.WriteByte(b[i])
		}
	}
	return out.String()
}

func FuzzAppendMasked(f *testing.F) {
	for _, s := range []string{
		`{"token":"x"}`, `{"a":{"password":[1,{"b":2}]},"c":1e400}`, `[`, `{"token":`, `{"\u0074oken" : -0 }`, "\ufeff{}", `"\ud800"`, `{"token":null}`, ``,
		`[["token","a"],{"value":["x"],"name":"token"}]`, `{"x":"{\"token\":\"y\"}"}`, `["https://u:p@h/?token=a"]`,
		strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := AppendMasked([]byte("kept"), body, Masked)
		if !bytes.HasPrefix(got, []byte("kept")) || !json.Valid(got[4:]) {
			t.Errorf("%q becomes %q", body, got)
		}
		if json.Valid(body) && string(got[4:]) != "null" && skeleton(got[4:]) != skeleton(body) {
			t.Errorf("%q becomes %q: something but strings has changed", body, got[4:])
		}
	})
}

// BenchmarkAppendMasked: an event of 2 KiB.
func BenchmarkAppendMasked(b *testing.B) {
	var agents []string
	for i := range 9 {
		agents = append(agents, `{"agent_id":"content_review_`+strconv.Itoa(i)+`","status":"completed","execution_time_ms":1234.5,"confidence_score":0.93,"results_available":true,"summary":"the page was reviewed and two findings were made"}`)
	}
	body := []byte(`{"workflow_id":"strategy_workflow-1764306000000","event_type":"workflow_progress","timestamp":"2026-11-28T05:00:00Z","session_id":"abc","agents":[` + strings.Join(agents, ",") + `],"api_key":"x"}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	dst := make([]byte, 0, 4096)
	for b.Loop() {
		dst = AppendMasked(dst[:0], body, Masked)
	}
}
