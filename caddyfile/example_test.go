package caddyfile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestExampleTree writes Caddyfile.example down as the routes that it adapts to, in the
// order in which they are tried. It is the same in every environment.
func TestExampleTree(t *testing.T) {
	const golden = "testdata/example.txt"
	for _, env := range []string{"production", "development"} {
		t.Setenv("OSA_ENV", env)
		got := exampleTree(t)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("in %s the tree is\n%s\nwant\n%s", env, got, want)
		}
		if strings.Contains(got, "osa_simulator") {
			t.Error("the simulator is there")
		}
	}
}

func adaptExample() (string, error) {
	b, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		return "", err
	}
	return adapt(string(b))
}

func exampleTree(t *testing.T) string {
	t.Helper()
	adapted, err := adaptExample()
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []route `json:"routes"`
					Errors struct {
						Routes []route `json:"routes"`
					} `json:"errors"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal([]byte(adapted), &config); err != nil {
		t.Fatal(err)
	}
	if n := len(config.Apps.HTTP.Servers); n != 1 {
		t.Fatalf("%d servers, want one", n)
	}
	var b strings.Builder
	for _, srv := range config.Apps.HTTP.Servers {
		writeTree(&b, srv.Routes, "")
		b.WriteString("errors\n")
		writeTree(&b, srv.Errors.Routes, "  ")
	}
	return b.String()
}

type route struct {
	Group  string                       `json:"group"`
	Match  []map[string]json.RawMessage `json:"match"`
	Handle []map[string]json.RawMessage `json:"handle"`
}

func writeTree(b *strings.Builder, routes []route, indent string) {
	for _, r := range routes {
		match, _ := json.Marshal(r.Match)
		if r.Match == nil {
			match = nil
		}
		fmt.Fprintf(b, "%s- %s\n", indent, match)
		for _, h := range r.Handle {
			name := strings.Trim(string(h["handler"]), `"`)
			detail := ""
			for _, key := range []string{"permissions", "source", "status_code"} {
				if v, ok := h[key]; ok {
					detail += " " + string(compact(v))
				}
			}
			if name == "subroute" {
				var nested []route
				_ = json.Unmarshal(h["routes"], &nested)
				writeTree(b, nested, indent+"  ")
				continue
			}
			fmt.Fprintf(b, "%s  %s%s\n", indent, name, detail)
		}
	}
}

func compact(raw json.RawMessage) []byte {
	var v any
	_ = json.Unmarshal(raw, &v)
	b, _ := json.Marshal(v)
	return b
}

// TestExampleValidates provisions the example as `caddy validate` does.
func TestProductionNamesEveryProblem(t *testing.T) {
	for _, name := range []string{
		"OSA_WEBHOOK_SHARED_SECRET", "OSA_KEY_PEPPER", "OSA_KEYS_FILE", "OSA_JWT_PUBLIC_KEY",
		"OPAL_WEBHOOK_URL", "OPAL_STRATEGY_WORKFLOW_AUTH_KEY", "OPAL_WORKSPACE_ID", "BASE_URL", "NODE_ENV",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("OSA_ENV", "production")
	adapted, err := adaptExample()
	if err != nil {
		t.Fatal(err)
	}
	var config caddy.Config
	if err := json.Unmarshal([]byte(adapted), &config); err != nil {
		t.Fatal(err)
	}
	config.Logging = nil
	err = caddy.Validate(&config)
	if err == nil {
		t.Fatal("starts without anything")
	}
	for _, want := range []string{"OSA_WEBHOOK_SHARED_SECRET", "OSA_KEY_PEPPER", "OSA_KEYS_FILE", "OSA_JWT_PUBLIC_KEY"} {
		if n := strings.Count(err.Error(), want); n != 1 {
			t.Errorf("%s is named %d times, want once:\n%v", want, n, err)
		}
	}
	// What only Force Sync needs does not stop the start.
	if strings.Contains(err.Error(), "OPAL_") {
		t.Errorf("OPAL's variables stop the start:\n%v", err)
	}
}

// TestPages: every directive has its page. tests/docs runs what stands on them.
func TestPages(t *testing.T) {
	for _, name := range directiveNames(t) {
		if _, err := os.Stat("../docs/directives/" + name + ".md"); err != nil {
			t.Errorf("%s has no page: %v", name, err)
		}
	}
}

// directiveNames are the directives that have golden files: all of them.
func directiveNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/adapt/osa_*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".caddyfiletest"))
	}
	return names
}
