package diagnostics

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestUnmarshalCaddyfile(t *testing.T) {
	events, diagnostics := new(Events), new(Diagnostics)
	for _, h := range []caddyfile.Unmarshaler{events, diagnostics} {
		if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("osa_any {\npath_prefix /here\n}")); err != nil {
			t.Error(err)
		}
	}
	if events.PathPrefix != "/here" || diagnostics.PathPrefix != "/here" {
		t.Errorf("%+v, %+v", events, diagnostics)
	}
	for _, tt := range []struct {
		h           caddyfile.Unmarshaler
		input, want string
	}{
		{new(Events), `osa_events list`, "wrong argument count"},
		{new(Events), "osa_events {\nlimit 10\n}", `unknown option "limit" of osa_events`},
		{new(Diagnostics), "osa_diagnostics {\npath_prefix\n}", "wrong argument count"},
		{new(Diagnostics), "osa_diagnostics {\npath_prefix /a /b\n}", "wrong argument count"},
		{new(Diagnostics), "osa_diagnostics {\npath_prefix \"\"\n}", "must not be empty"},
		{new(Events), "osa_events {\npath_prefix /a\npath_prefix /b\n}", "already given"},
		{new(Health), "osa_health now", "wrong argument count"},
		{new(Health), "osa_health {\npath_prefix /a\n}", `unknown option "path_prefix" of osa_health`},
	} {
		if err := tt.h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.input)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to say %q", tt.input, err, tt.want)
		}
	}
}
