package diagnostics

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestUnmarshalCaddyfile(t *testing.T) {
	var h Handler
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`osa_diagnostics last_webhook`)); err != nil || h.View != "last_webhook" {
		t.Errorf("%+v, %v", h, err)
	}
	h = Handler{}
	d := caddyfile.NewTestDispenser("osa_diagnostics events {\nanonymous_workspace acme\n}")
	if err := h.UnmarshalCaddyfile(d); err != nil || h.View != "events" || h.AnonymousWorkspace != "acme" {
		t.Errorf("%+v, %v", h, err)
	}
	for input, want := range map[string]string{
		`osa_diagnostics`:                                                           "wrong argument count",
		`osa_diagnostics events event`:                                              "wrong argument count",
		"osa_diagnostics events {\nlimit 10\n}":                                     "unknown option",
		"osa_diagnostics events {\nanonymous_workspace\n}":                          "wrong argument count",
		"osa_diagnostics events {\nanonymous_workspace a b\n}":                      "wrong argument count",
		"osa_diagnostics events {\nanonymous_workspace \"\"\n}":                     "must not be empty",
		"osa_diagnostics events {\nanonymous_workspace a\nanonymous_workspace b\n}": "already given",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", input, err, want)
		}
	}
}
