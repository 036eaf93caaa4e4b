package caddyfile_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/osa-edge/osa-gateway/caddyfile"
)

var update = flag.Bool("update", false, "write what adapts now into the golden files")

// separator stands between a Caddyfile and what it adapts to, as in Caddy's own
// tests.
const separator = "\n----------\n"

func adapt(caddyfile string) (string, error) {
	out, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			return "", &warningError{w.String()}
		}
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, out, "", "\t"); err != nil {
		return "", err
	}
	return indented.String(), nil
}

type warningError struct{ text string }

func (w *warningError) Error() string { return "warning: " + w.text }

// TestAdapt compares what every file in testdata/adapt adapts to with what it
// says. `go test ./caddyfile -update` writes it anew.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(b), separator)
			got, err := adapt(input + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimRight(input, "\n")+separator+got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.TrimSpace(want) {
				t.Errorf("adapts to\n%s\nwant\n%s", got, want)
			}
		})
	}
}
