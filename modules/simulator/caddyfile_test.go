package simulator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/osa-edge/osa-gateway/internal/osatest"
)

func TestValidate(t *testing.T) {
	good := map[string]any{"auth_key": testKey, "secret": testSecret}
	production := osatest.New(t, nil)
	if _, err := production.Load("http.handlers.osa_simulator", good); err == nil || !strings.Contains(err.Error(), "OSA_ENV=development") {
		t.Errorf("in production: %v", err)
	}
	development := osatest.New(t, map[string]any{"environment": "development"})
	_, err := development.Load("http.handlers.osa_simulator", map[string]any{
		"auth_key": "{env.OSA_T_NONE}", "secret": "hunter2", "duration": caddy.Duration(time.Minute), "fail": []string{"nemo"}, "drop": 101, "repeat": -1, "slow": 1000,
	})
	for _, want := range []string{"OPAL_STRATEGY_WORKFLOW_AUTH_KEY) is empty", "OSA_WEBHOOK_SHARED_SECRET) is shorter", "duration", `"nemo"`, "drop", "repeat", "slow"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Error("shows a secret")
	}
	if _, err := development.Load("http.handlers.osa_simulator", good); err != nil {
		t.Error(err)
	}
}

func TestUnmarshalCaddyfile(t *testing.T) {
	tests := []struct{ input, json, err string }{
		{`osa_simulator`, `{}`, ``},
		{`osa_simulator {
			auth_key {env.KEY}
			secret {env.SECRET}
			duration 3s
			slow 1.5
			fail geo_audit content_review
			repeat 2
			reorder
			drop 12.5
			own_ids
			seed 7
		}`, `{"auth_key":"{env.KEY}","secret":"{env.SECRET}","duration":3000000000,"slow":1.5,"fail":["geo_audit","content_review"],"repeat":2,"reorder":true,"drop":12.5,"own_ids":true,"seed":7}`, ``},
		{`osa_simulator now`, ``, "wrong argument count"},
		{"osa_simulator {\n secret\n}", ``, "wrong argument count"},
		{"osa_simulator {\n secret a b\n}", ``, "wrong argument count"},
		{"osa_simulator {\n fail\n}", ``, "wrong argument count"},
		{"osa_simulator {\n reorder yes\n}", ``, "wrong argument count"},
		{"osa_simulator {\n repeat 1\n repeat 2\n}", ``, "already given"},
		{"osa_simulator {\n repeat often\n}", ``, "repeat: "},
		{"osa_simulator {\n seed -1\n}", ``, "seed: "},
		{"osa_simulator {\n explode\n}", ``, `unknown option "explode"`},
	}
	for _, tt := range tests {
		s := new(Simulator)
		err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.input))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", tt.input, err, tt.err)
			}
			continue
		}
		if raw, _ := json.Marshal(s); err != nil || string(raw) != tt.json {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.input, err, raw, tt.json)
		}
	}
}
