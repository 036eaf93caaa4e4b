package osa

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestDescribeSetting(t *testing.T) {
	for value, want := range map[string]string{
		"":                          "pepper",
		"text":                      "pepper",
		"{env.OSA_KEY_PEPPER}":      "pepper (environment variable OSA_KEY_PEPPER)",
		"{file./run/secrets/x}":     "pepper (file /run/secrets/x, which may be missing or unreadable)",
		"{env.A}{env.B}":            "pepper",
		"x{env.A}":                  "pepper",
		"{env.A":                    "pepper",
		"{http.request.host}":       "pepper",
		"{env.OSA_KEY_PEPPER} more": "pepper",
	} {
		if got := DescribeSetting("pepper", value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestFilesIn(t *testing.T) {
	got := FilesIn("{file./a}", "x{file./b}y{file./a}{env.C}", "{file./c", "", "{file.d e}")
	if want := []string{"/a", "/b", "d e"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "A-z_0.9": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a b": false, "a/b": false, "é": false, "a\n": false,
	} {
		if ValidName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestWorkspaces(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "Ünïcode space": true, strings.Repeat("a", 128): true,
		"": false, strings.Repeat("a", 129): false, "a\x00": false, "a\x7f": false, "a\n": false,
	} {
		if ValidWorkspace(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
	t.Setenv("OSA_TEST_WORKSPACE", "mine")
	for variable, want := range map[string]map[string]string{
		"":     {"": DefaultWorkspace, "a": "a", "{env.OSA_TEST_WORKSPACE}": "mine", "{env.OSA_TEST_NONE}": ""},
		"acme": {"": "acme", "a": "a", "{env.OSA_TEST_NONE}": ""},
	} {
		t.Setenv("OPAL_WORKSPACE_ID", variable)
		for value, want := range want {
			if got := ExpandWorkspace(caddy.NewReplacer(), value); got != want {
				t.Errorf("OPAL_WORKSPACE_ID=%s, %q: %q, want %q", variable, value, got, want)
			}
		}
	}
	if err := InvalidWorkspace("workspace", "{env.X}"); !strings.Contains(err.Error(), "environment variable X") {
		t.Error(err)
	}
}
