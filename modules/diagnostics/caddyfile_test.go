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
	for input, want := range map[string]string{
		`osa_diagnostics`:                       "wrong argument count",
		`osa_diagnostics events event`:          "wrong argument count",
		"osa_diagnostics events {\nlimit 10\n}": "unknown option",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", input, err, want)
		}
	}
}
