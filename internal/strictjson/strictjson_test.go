package strictjson_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

type inner struct {
	N int `json:"n"`
}

// itself decodes its own value, as golang-jwt's and our types do.
type itself struct{ s string }

func (v *itself) UnmarshalJSON(b []byte) error { return strictjson.Unmarshal(b, &v.s) }

type record struct {
	Workspace string          `json:"workspace_id"`
	Inner     inner           `json:"inner"`
	List      []inner         `json:"list"`
	Raw       json.RawMessage `json:"raw"`
	Itself    itself          `json:"itself"`
}

func TestRules(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		known      bool
		path       string
		reason     strictjson.Reason
	}{
		{name: "exact", text: `{"workspace_id":"a","inner":{"n":1},"list":[{"n":2}],"raw":{"x":1},"itself":"s"}`},
		{name: "null is absent", text: `{"workspace_id":null,"inner":null,"list":null}`},
		{name: "another case is another name", text: `{"workspace_id":"a","Workspace_ID":"b"}`},
		{name: "another case is unknown", text: `{"Workspace_ID":"b"}`, known: true, path: "Workspace_ID", reason: strictjson.Unknown},
		{name: "the Kelvin sign folds to k", text: "{\"wor\u212aspace_id\":\"b\"}", known: true, path: "wor\u212aspace_id", reason: strictjson.Unknown},
		{name: "twice", text: `{"workspace_id":"a","workspace_id":"b"}`, path: "workspace_id", reason: strictjson.Repeated},
		{name: "twice, once escaped", text: `{"workspace_id":"a","workspace\u005fid":"b"}`, path: "workspace_id", reason: strictjson.Repeated},
		{name: "twice and unknown", text: `{"x":{"y":1,"y":2}}`, path: "x.y", reason: strictjson.Repeated},
		{name: "twice below", text: `{"inner":{"n":1,"n":2}}`, path: "inner.n", reason: strictjson.Repeated},
		{name: "unknown below", text: `{"list":[{"n":1},{"m":1}]}`, known: true, path: "list.1.m", reason: strictjson.Unknown},
		{name: "wrong type", text: `{"inner":{"n":"1"}}`, path: "inner.n", reason: strictjson.WrongType},
		{name: "wrong type inside one that decodes itself", text: `{"itself":1}`, path: "itself", reason: strictjson.WrongType},
		{name: "cut", text: `{"workspace_id":"a"`, reason: strictjson.Malformed},
		{name: "more behind", text: `{} {}`, reason: strictjson.Malformed},
		{name: "not UTF-8", text: "{\"workspace_id\":\"\xff\"}", reason: strictjson.Malformed},
		{name: "empty", text: ``, reason: strictjson.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r record
			decode := strictjson.Unmarshal
			if tc.known {
				decode = strictjson.UnmarshalKnown
			}
			err := decode([]byte(tc.text), &r)
			if tc.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				if r.Workspace == "b" {
					t.Error("the member of another case was read")
				}
				return
			}
			var e *strictjson.Error
			if !errors.As(err, &e) || e.Path != tc.path || e.Reason != tc.reason {
				t.Fatalf("got %#v, want path %q and reason %q", err, tc.path, tc.reason)
			}
		})
	}
}

func TestErrorHoldsNoValue(t *testing.T) {
	var r record
	err := strictjson.Unmarshal([]byte(`{"inner":{"n":"s3cret"}}`), &r)
	if err == nil || err.Error() != `"inner.n" has the wrong type` {
		t.Errorf("got %v", err)
	}
}
