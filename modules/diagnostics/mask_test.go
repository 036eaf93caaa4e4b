package diagnostics

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendMasked(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":1}`:                                `{"a":1}`,
		`{"token":"x"}`:                          `{"token":"***"}`,
		" { \"API-Key\" :\t\"x\" , \"b\": 2 }\n": " { \"API-Key\" :\t\"***\" , \"b\": 2 }\n",
		`{"access_token":1e400,"password":true,"pwd":null}`:                      `{"access_token":"***","password":"***","pwd":null}`,
		`{"data":[{"deep":{"clientSecret":"a\"b","n":1}}]}`:                      `{"data":[{"deep":{"clientSecret":"***","n":1}}]}`,
		`{"credentials":{"user":"u","more":["}",{"x":"]"}]},"after":[1]}`:        `{"credentials":"***","after":[1]}`,
		`{"secrets":["a","b"],"token":[]}`:                                       `{"secrets":"***","token":"***"}`,
		`{"\u0074oken":"x","tok\u0065n":"y"}`:                                    `{"\u0074oken":"***","tok\u0065n":"***"}`,
		`{"Authorization":"Bearer x","auth":{"k":1},"author":"me"}`:              `{"Authorization":"***","auth":"***","author":"me"}`,
		`{"auth_key":"x","AUTH KEY":"y","private.key":"z"}`:                      `{"auth_key":"***","AUTH KEY":"***","private.key":"***"}`,
		`["token","secret",{"x":"password"}]`:                                    `["token","secret",{"x":"password"}]`,
		`{"x":"\"token\":\"y\"","token":"z"}`:                                    `{"x":"\"token\":\"y\"","token":"***"}`,
		`{"n":1e400,"n":-0.10,"s":"\ud800\u0000","big":12345678901234567890123}`: `{"n":1e400,"n":-0.10,"s":"\ud800\u0000","big":12345678901234567890123}`,
		`{"password":12}`:    `{"password":"***"}`,
		`{"password":12 }`:   `{"password":"***" }`,
		`{"password":"a\\"}`: `{"password":"***"}`,
		`"token"`:            `"token"`,
		``:                   `null`,
		`token=abc`:          `null`,
		`{"token":"x"`:       `null`,
		"{\"a\":\"\xff\"}":   `null`,
	} {
		if got := string(appendMasked(nil, []byte(body))); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

func TestAppendMaskedLarge(t *testing.T) {
	nested := `{"a":` + strings.Repeat(`[`, 9000) + `{"token":"x"}` + strings.Repeat(`]`, 9000) + `}`
	if got := string(appendMasked(nil, []byte(nested))); got != strings.Replace(nested, `"x"`, masked, 1) {
		t.Error("nested 9000 deep: not masked")
	}
	for name, body := range map[string]string{
		"ten million brackets": strings.Repeat("[", 10<<20),
		"beyond all depth":     strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
	} {
		if got := string(appendMasked(nil, []byte(body))); got != "null" {
			t.Errorf("%s: %.20s", name, got)
		}
	}
	wide := []byte(`{"rows":[` + strings.Repeat(`{"id":1,"secret":"s3cr3t"},`, 50_000) + `{}]}`)
	got := appendMasked(nil, wide)
	if !json.Valid(got) || bytes.Contains(got, []byte("s3cr3t")) {
		t.Error("wide body: not masked")
	}
}

// tree is a random JSON value, in which every sensitive member holds the word
// hidden and nothing else does.
func tree(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 4
		if depth > 0 {
			kinds = 6
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.String().Filter(func(s string) bool { return !strings.Contains(s, "hidden") }).Draw(t, "string")
		case 1:
			return rapid.Float64().Draw(t, "number")
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return nil
		case 4:
			return rapid.SliceOfN(tree(depth-1), 0, 4).Draw(t, "array")
		}
		object := rapid.MapOfN(rapid.StringMatching(`[a-c":\\ é]{0,6}`), tree(depth-1), 0, 4).Draw(t, "object")
		if rapid.Bool().Draw(t, "sensitive") {
			name := rapid.SampledFrom([]string{"token", "API_Key", "client-secret", "a\"password\""}).Draw(t, "name")
			object[name] = []any{"hidden", map[string]any{"x": "hidden"}}
		}
		return object
	})
}

func TestAppendMaskedRandom(t *testing.T) {
	var hide func(v any) any
	hide = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = hide(v[i])
			}
		case map[string]any:
			for k := range v {
				quoted, _ := json.Marshal(k)
				if sensitive(string(quoted)) && v[k] != nil {
					v[k] = "***"
				} else {
					v[k] = hide(v[k])
				}
			}
		}
		return v
	}
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(tree(4).Draw(t, "tree"))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(hide(v))
		var again any
		got := appendMasked(nil, body)
		if err := json.Unmarshal(got, &again); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		if got, _ := json.Marshal(again); !bytes.Equal(got, want) || bytes.Contains(got, []byte("hidden")) {
			t.Fatalf("%s\n got %s\nwant %s", body, got, want)
		}
	})
}

func FuzzAppendMasked(f *testing.F) {
	for _, s := range []string{
		`{"token":"x"}`, `{"a":{"password":[1,{"b":2}]},"c":1e400}`, `[`, `{"token":`, `{"\u0074oken" : -0 }`, "\ufeff{}", `"\ud800"`, `{"token":null}`, ``,
		strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := appendMasked([]byte("kept"), body)
		if !bytes.HasPrefix(got, []byte("kept")) || !json.Valid(got[4:]) {
			t.Errorf("%q becomes %q", body, got)
		}
		if again := appendMasked(nil, got[4:]); !bytes.Equal(again, got[4:]) {
			t.Errorf("masked twice: %q becomes %q", got[4:], again)
		}
	})
}
