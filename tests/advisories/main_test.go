package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	const (
		sbom    = `{"SBOM":{"go_version":"go1.26.10"}}`
		reached = `{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.1.0","package":"m/p","function":"F"}]}}`
		unfixed = `{"finding":{"osv":"GO-2","trace":[{"module":"m","version":"v1.1.0","package":"m/p","function":"F"}]}}`
		module  = `{"finding":{"osv":"GO-3","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.1.0"}]}}`
	)
	for _, c := range []struct {
		name, in string
		excepted map[string]string
		err      string
	}{
		{"nothing", sbom, nil, ""},
		{"reached and mended", sbom + reached, nil, "GO-1"},
		{"an exception", sbom + reached, map[string]string{"GO-1": "why"}, ""},
		{"no version mends it", sbom + unfixed, nil, ""},
		{"only the module is there", sbom + module, nil, ""},
		{"an exception too many", sbom, map[string]string{"GO-1": "why"}, "GO-1"},
		{"broken off", sbom + `{"finding":`, nil, "reading"},
		{"empty", "", nil, "nothing"},
	} {
		var out strings.Builder
		err := report(strings.NewReader(c.in), &out, c.excepted)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v\n%s", c.name, err, out.String())
		}
	}
}

func TestReadExceptions(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for text, ok := range map[string]bool{
		"# a comment\n\n": true,
		"GO-1 2026-11-28 constants are passed only\n": true,
		"GO-1 2026-11-01 constants are passed only\n": false,
		"GO-1 2026-12-28\n":                           false,
		"GO-1 tomorrow constants are passed only\n":   false,
	} {
		path := filepath.Join(t.TempDir(), "exceptions.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readExceptions(path, now); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
