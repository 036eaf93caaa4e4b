package caddyfile_test

import (
	"strings"
	"testing"
)

// TestSyntaxErrors has every way in which a directive can be written wrong, with
// what the user is told. A directive is written as in a site block.
func TestSyntaxErrors(t *testing.T) {
	tests := map[string][]struct{ in, want string }{
		"osa_guard": {
			{`osa_guard x y`, `wrong argument count or unexpected line ending after 'x'`},
			{`osa_guard { bogus 1 }`, `unknown option "bogus" of osa_guard`},
			{`osa_guard { max_body }`, `wrong argument count`},
			{`osa_guard { max_body 1MB 2MB }`, `wrong argument count`},
			{`osa_guard { max_body lots }`, `max_body: `},
			{`osa_guard { max_body 0 }`, `max_body: "0" is out of range`},
			{`osa_guard { max_body 1MB; max_body 2MB }`, `max_body was already given`},
			{`osa_guard { max_inflight -1 }`, `max_inflight: `},
			{`osa_guard { min_rate }`, `wrong argument count`},
			{`osa_guard { min_rate 1KiB 5s 5s }`, `wrong argument count`},
			{`osa_guard { min_rate 0 }`, `min_rate: "0" is out of range`},
			{`osa_guard { min_rate slow }`, `min_rate: `},
			{`osa_guard { min_rate 1KiB soon }`, `min_rate: "soon" is not a duration`},
			{`osa_guard { min_rate 1KiB; min_rate 2KiB }`, `min_rate was already given`},
			{`osa_guard { content_types }`, `wrong argument count`},
			{`osa_guard { content_types a/b; content_types c/d }`, `content_types was already given`},
		},
		"osa_auth": {
			{`osa_auth key { key { prefix a; } }`, `unknown option "key" of osa_auth: want anonymous; providers are configured in the global option`},
			{`osa_auth key { require a }`, `unknown option "require" of osa_auth`},
			{`osa_auth key { anonymous }`, `wrong argument count`},
			{`osa_auth key { anonymous acme }`, `wrong argument count`},
			{`osa_auth key { anonymous acme a; anonymous acme b }`, `anonymous was already given`},
		},
		"osa_require": {
			{`osa_require`, `wrong argument count`},
			{`osa_require events:read { bogus 1 }`, `unknown option "bogus" of osa_require: it has none`},
		},
		"osa_events": {
			{`osa_events list`, `wrong argument count`},
			{`osa_events { bogus 1 }`, `unknown option "bogus" of osa_events: want path_prefix`},
			{`osa_events { path_prefix }`, `wrong argument count`},
			{`osa_events { path_prefix /a /b }`, `wrong argument count`},
			{`osa_events { path_prefix /a; path_prefix /b }`, `path_prefix was already given`},
		},
		"osa_diagnostics": {
			{`osa_diagnostics events`, `wrong argument count`},
			{`osa_diagnostics { bogus 1 }`, `unknown option "bogus" of osa_diagnostics: want path_prefix`},
		},
		"osa_health": {
			{`osa_health now`, `wrong argument count`},
			{`osa_health { bogus 1 }`, `unknown option "bogus" of osa_health: it has none`},
		},
		"osa_simulator": {
			{`osa_simulator x y`, `wrong argument count`},
			{`osa_simulator { bogus 1 }`, `unknown option "bogus" of osa_simulator`},
			{`osa_simulator { secret }`, `wrong argument count`},
			{`osa_simulator { secret a b }`, `wrong argument count`},
			{`osa_simulator { secret a; secret b }`, `secret was already given`},
			{`osa_simulator { duration soon }`, `duration: `},
			{`osa_simulator { slow down }`, `slow: `},
			{`osa_simulator { fail }`, `wrong argument count`},
			{`osa_simulator { repeat often }`, `repeat: `},
			{`osa_simulator { reorder well }`, `wrong argument count`},
			{`osa_simulator { drop most }`, `drop: `},
			{`osa_simulator { seed -1 }`, `seed: `},
		},
		"osa_signature": {
			{`osa_signature`, `wrong argument count`},
			{`osa_signature osa a b`, `wrong argument count`},
			{`osa_signature rot13`, `unknown signature scheme "rot13": want one of osa`},
			{`osa_signature osa { secret a }`, `wrong argument count`},
			{`osa_signature osa { secret a b c }`, `wrong argument count`},
			{`osa_signature osa a { secret main b }`, `secret main was already given`},
			{`osa_signature osa { secret a b; secret a c }`, `secret a was already given`},
			{`osa_signature osa { secret a b { bogus 1 } }`, `unknown option "bogus" of secret: want workspace, not_before or not_after`},
			{`osa_signature osa { secret a b { workspace } }`, `wrong argument count`},
			{`osa_signature osa { secret a b { workspace x; workspace y } }`, `workspace was already given`},
			{`osa_signature osa { tolerance }`, `wrong argument count`},
			{`osa_signature osa { tolerance soon }`, `tolerance: `},
			{`osa_signature osa { tolerance -1s }`, `tolerance must be positive`},
			{`osa_signature osa { tolerance 1s; tolerance 2s }`, `tolerance was already given`},
			{`osa_signature osa { bogus 1 }`, `unknown option "bogus" of osa_signature osa: want secret or tolerance`},
		},
		"osa_webhook": {
			{`osa_webhook`, `wrong argument count`},
			{`osa_webhook opal opal`, `wrong argument count`},
			{`osa_webhook opal { bogus 1 }`, `unknown option "bogus" of osa_webhook`},
			{`osa_webhook opal { strict_types yes }`, `wrong argument count`},
			{`osa_webhook opal { strict_types; strict_types }`, `strict_types was already given`},
			{`osa_webhook opal { duplicate_status }`, `wrong argument count`},
			{`osa_webhook opal { duplicate_status maybe }`, `duplicate_status: "maybe" is not a number`},
			{`osa_webhook opal { workflow_names }`, `wrong argument count`},
			{`osa_webhook opal { mapping a b }`, `wrong argument count`},
			{`osa_webhook opal { unsigned acme }`, `unknown option "unsigned" of osa_webhook`},
		},
		"osa_stream": {
			{`osa_stream now then`, `wrong argument count`},
			{`osa_stream { bogus 1 }`, `unknown option "bogus" of osa_stream`},
			{`osa_stream { heartbeat }`, `wrong argument count`},
			{`osa_stream { heartbeat 1s 2s }`, `wrong argument count`},
			{`osa_stream { heartbeat soon }`, `"soon" is not a positive duration`},
			{`osa_stream { heartbeat 1s; heartbeat 2s }`, `heartbeat is given twice`},
			{`osa_stream { write_timeout 0s }`, `"0s" is not a positive duration`},
			{`osa_stream { max_streams many }`, `"many" is not a positive number`},
			{`osa_stream { max_streams_per_principal 0 }`, `"0" is not a positive number`},
			{`osa_stream { on_slow sleep }`, `unknown on_slow "sleep": want catch_up, latest or disconnect`},
			{`osa_stream { anonymous }`, `wrong argument count`},
		},
		"osa_sync": {
			{`osa_sync now then`, `wrong argument count`},
			{`osa_sync { bogus 1 }`, `unknown option "bogus" of osa_sync`},
			{`osa_sync { answer_after }`, `wrong argument count`},
			{`osa_sync { answer_after 1s 2s }`, `wrong argument count`},
			{`osa_sync { answer_after 1s; answer_after 2s }`, `answer_after was already given`},
			{`osa_sync { answer_after soon }`, `answer_after: `},
		},
		"osa_error": {
			{`osa_error x y`, `wrong argument count`},
			{`osa_error { bogus 1 }`, `unknown option "bogus" of osa_error`},
			{`osa_error { service_name }`, `wrong argument count`},
			{`osa_error { service_name a b }`, `wrong argument count`},
			{`osa_error { service_name a; service_name b }`, `service_name was already given`},
		},
	}
	for directive, cases := range tests {
		t.Run(directive, func(t *testing.T) {
			for _, tt := range cases {
				wantError(t, ":80 {\n"+lines(tt.in)+"\n}\n", tt.in, tt.want)
			}
		})
	}
}

// TestGlobalOptionErrors does the same for the global option.
func TestGlobalOptionErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`osa on`, `wrong argument count`},
		{`osa { bogus 1 }`, `unknown option "bogus" of osa`},
		{`osa { retention }`, `wrong argument count`},
		{`osa { retention 1d 2d }`, `wrong argument count`},
		{`osa { retention long }`, `retention: `},
		{`osa { retention 1d; retention 2d }`, `retention was already given`},
		{`osa { open_timeout long }`, `open_timeout: `},
		{`osa { queue_events many }`, `queue_events: "many" is not a number`},
		{`osa { queue_bytes many }`, `queue_bytes: `},
		{`osa { storage }`, `wrong argument count`},
		{`osa { storage punchcards }`, `osa.storage.punchcards`},
		{`osa { storage badger { bogus 1 } }`, `unknown option "bogus" of storage badger: want path, reserve or ballast`},
		{`osa { storage badger { path } }`, `wrong argument count`},
		{`osa { storage badger { path a; path b } }`, `path was already given`},
		{`osa { storage badger { reserve much } }`, `reserve: `},
		{`osa { storage badger twice }`, `wrong argument count`},
		{`osa { auth x { } }`, `wrong argument count`},
		{`osa { auth { ldap } }`, `unknown provider "ldap" of auth: want one of jwt, key`},
		{`osa { auth { key; key } }`, `key was already given; a provider may have a name of its own`},
		{`osa { auth { jwt a; key a } }`, `a was already given`},
		{`osa { auth { key }; auth { jwt } }`, `auth was already given`},
		{`osa { auth { key x y } }`, `wrong argument count`},
		{`osa { auth { key { bogus 1 } } }`, `unknown option "bogus" of key: want prefix, pepper, file or record`},
		{`osa { auth { key { prefix } } }`, `wrong argument count`},
		{`osa { auth { key { pepper a b } } }`, `wrong argument count`},
		{`osa { auth { key { file a; file b } } }`, `file was already given`},
		{`osa { auth { key { record ci } } }`, `wrong argument count`},
		{`osa { auth { key { record ci h; record ci g } } }`, `record ci was already given`},
		{`osa { auth { key { record ci h { bogus 1 } } } }`, `unknown option "bogus" of record ci: want name, workspace, permissions or expires_at`},
		{`osa { auth { key { record ci h { permissions } } } }`, `wrong argument count`},
		{`osa { auth { key { record ci h { expires_at soon } } } }`, `expires_at: "soon" is not a time`},
		{`osa { auth { jwt { bogus 1 } } }`, `unknown option "bogus" of jwt`},
		{`osa { auth { jwt { public_key } } }`, `wrong argument count`},
		{`osa { auth { jwt { issuer a; issuer b } } }`, `issuer was already given`},
		{`osa { base_url a; base_url b }`, `base_url was already given`},
		{`osa { opal x { } }`, `wrong argument count`},
		{`osa { opal { bogus 1 } }`, `unknown option "bogus" of opal`},
		{`osa { opal { webhook_url } }`, `wrong argument count`},
		{`osa { opal { webhook_url a b } }`, `wrong argument count`},
		{`osa { opal { workspace a; workspace b } }`, `workspace was already given`},
		{`osa { opal { run_timeout soon } }`, `run_timeout: `},
		{`osa { }; osa { }`, `the osa option was already given`},
	} {
		wantError(t, "{\n"+lines(tt.in)+"\n}\n:80\n", tt.in, tt.want)
	}
}

func wantError(t *testing.T, caddyfile, in, want string) {
	t.Helper()
	_, err := adapt(caddyfile)
	if err == nil {
		t.Errorf("%s\n\tadapts, want %q", in, want)
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s\n\tsays %q\n\twant %q", in, err, want)
	}
}

// lines turns the one-line form of the tables into a Caddyfile's lines.
func lines(s string) string {
	return strings.NewReplacer("{ ", "{\n", " }", "\n}", "; ", "\n", ";", "").Replace(s)
}
