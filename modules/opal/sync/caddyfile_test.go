package sync

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
		{"osa_sync {\n answer_after 2s\n}", `{"answer_after":2000000000}`, ``},
		{`osa_sync now`, ``, "wrong argument count"},
		{"osa_sync {\n answer_after\n}", ``, "wrong argument count"},
		{"osa_sync {\n answer_after 1s 2s\n}", ``, "wrong argument count"},
		{"osa_sync {\n answer_after 1s\n answer_after 2s\n}", ``, "already given"},
		{"osa_sync {\n base_url a\n}", ``, `unknown option "base_url"`},
		{"osa_sync {\n answer_after soon\n}", ``, "answer_after"},
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
	for d, valid := range map[time.Duration]bool{0: true, time.Second: true, maxAnswerAfter: true, maxAnswerAfter + 1: false, -1: false} {
		s := &Sync{AnswerAfter: caddy.Duration(d)}
		if err := s.Validate(); (err == nil) != valid {
			t.Errorf("%v: %v", d, err)
		}
	}
}
