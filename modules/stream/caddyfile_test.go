package stream

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"osa_stream": `{}`,
		`osa_stream {
			heartbeat 10s
			write_timeout 1m
			max_streams 5
			max_streams_per_principal 2
			on_slow latest
			keep_connections
		}`: `{"heartbeat":10000000000,"write_timeout":60000000000,"max_streams":5,"max_streams_per_principal":2,` +
			`"on_slow":"latest","keep_connections":true}`,
	} {
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil {
			t.Errorf("%s: %v", input, err)
		}
		if got, _ := json.Marshal(h); string(got) != want {
			t.Errorf("%s\n got %s\nwant %s", input, got, want)
		}
	}
	for input, want := range map[string]string{
		"osa_stream ws":                                      "wrong argument count",
		"osa_stream {\n heartbeat\n}":                        "wrong argument count",
		"osa_stream {\n heartbeat 1s 2s\n}":                  "wrong argument count",
		"osa_stream {\n heartbeat -1s\n}":                    "positive duration",
		"osa_stream {\n heartbeat soon\n}":                   "positive duration",
		"osa_stream {\n max_streams 0\n}":                    "positive number",
		"osa_stream {\n max_streams many\n}":                 "positive number",
		"osa_stream {\n on_slow never\n}":                    "catch_up, latest or disconnect",
		"osa_stream {\n heartbeat 1s\n heartbeat 2s\n}":      "heartbeat is given twice",
		"osa_stream {\n keep_connections yes\n}":             "wrong argument count",
		"osa_stream {\n keep_connections\nkeep_connections}": "wrong argument count",
		"osa_stream {\n colour red\n}":                       "unknown option",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%s: %v, want %q", input, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	err := (&Handler{Heartbeat: 1 << 50, WriteTimeout: -1, MaxStreams: -1, MaxStreamsPerPrincipal: -1, OnSlow: "x"}).Validate()
	if err == nil || len(strings.Split(err.Error(), "\n")) != 5 {
		t.Errorf("not everything is named: %v", err)
	}
}
