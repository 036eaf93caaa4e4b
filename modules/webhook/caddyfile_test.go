package webhook

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Handler{
		`osa_webhook opal`: {Source: "opal"},
		`osa_webhook second {
			mapping opal
			strict_types
			duplicate_status 409
			workflow_names strategy_workflow nightly
		}`: {
			Source: "second", DuplicateStatus: 409,
			MappingRaw: json.RawMessage(`{"name":"opal","strict_types":true,"workflow_names":["strategy_workflow","nightly"]}`),
		},
		"osa_webhook opal {\nstrict_types\n}":  {Source: "opal", MappingRaw: json.RawMessage(`{"name":"opal","strict_types":true}`)},
		"osa_webhook other {\nmapping opal\n}": {Source: "other", MappingRaw: json.RawMessage(`{"name":"opal"}`)},
	} {
		var got Handler
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", input, got, err, want)
		}
	}
	for input, want := range map[string]string{
		`osa_webhook`:     "wrong argument count",
		`osa_webhook a b`: "wrong argument count",
		"osa_webhook opal {\nstrict_types yes\n}":                   "wrong argument count",
		"osa_webhook opal {\nworkflow_names\n}":                     "wrong argument count",
		"osa_webhook opal {\nunsigned acme\n}":                      "unknown option",
		"osa_webhook a {\nduplicate_status many\n}":                 "not a number",
		"osa_webhook opal {\nstrict_types\nstrict_types\n}":         "already given",
		"osa_webhook opal {\nworkflow_names x\nworkflow_names y\n}": "already given",
		"osa_webhook acme {\nstrict_types\n}":                       `unknown mapping "acme": want one of opal`,
		"osa_webhook a {\nmapping acme\n}":                          `unknown mapping "acme"`,
		"osa_webhook a {\nmapping opal\nmapping opal\n}":            "already given",
		"osa_webhook a {\nmapping\n}":                               "wrong argument count",
		"osa_webhook opal {\nsecret x\n}":                           "unknown option",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", input, err, want)
		}
	}
}
