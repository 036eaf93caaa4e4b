package osa

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestNewAnonymous: anonymous callers are told apart by address, of which an IPv6 host
// has many.
func TestNewAnonymous(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64",
		"::ffff:192.0.2.7": "192.0.2.7", "fe80::1%eth0": "fe80::/64", "": "", "@": "@",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: ip}))
		p := NewAnonymous(r, "ws", []string{PermEventsRead})
		if p.ID != want || !p.Anonymous() || p.Workspace() != "ws" || !p.Has(PermEventsRead) {
			t.Errorf("%q is %+v, want the id %q", ip, p, want)
		}
	}
}
