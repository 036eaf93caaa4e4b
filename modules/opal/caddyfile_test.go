package opal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestUnmarshalCaddyfile(t *testing.T) {
	tests := []struct{ input, json, err string }{
		{`osa_sync`, `{}`, ``},
		{`osa_sync {
			webhook_url https://opal.test/hook
			auth_key {env.KEY}
			workspace_id ws
			base_url https://osa.test
			callback_path /cb
			answer_after 2s
			run_timeout 5m
		}`, `{"webhook_url":"https://opal.test/hook","auth_key":"{env.KEY}","workspace_id":"ws","base_url":"https://osa.test","callback_path":"/cb","answer_after":2000000000,"run_timeout":300000000000}`, ``},
		{`osa_sync now`, ``, "wrong argument count"},
		{"osa_sync {\n base_url\n}", ``, "wrong argument count"},
		{"osa_sync {\n base_url a b\n}", ``, "wrong argument count"},
		{"osa_sync {\n base_url a\n base_url b\n}", ``, "already given"},
		{"osa_sync {\n retries 3\n}", ``, `unknown option "retries"`},
		{"osa_sync {\n run_timeout soon\n}", ``, "run_timeout"},
	}
	for _, tt := range tests {
		s := new(Sync)
		err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.input))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", tt.input, err, tt.err)
			}
			continue
		}
		if got, _ := json.Marshal(s); err != nil || string(got) != tt.json {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.input, err, got, tt.json)
		}
	}
}

func TestValidate(t *testing.T) {
	s := &Sync{AnswerAfter: caddy.Duration(time.Minute), RunTimeout: caddy.Duration(time.Millisecond), CallbackPath: "cb?x"}
	err := s.Validate()
	for _, want := range []string{"answer_after", "run_timeout", "callback_path"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	s = new(Sync)
	s.setDefaults()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}
