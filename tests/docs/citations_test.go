package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

var (
	citation = regexp.MustCompile(`docs/api\.md\s+(?://\s*)?§(\d+(?:\.\d+)?)`)
	// decided is the number of a heading of docs/api.md.
	decided = regexp.MustCompile(`(?m)^(?:## (\d+)\. |### (\d+\.\d+) )`)
	// elsewhere is a citation of a document that is not in the project.
	elsewhere = regexp.MustCompile(`CONTRACT`)
)

// TestCitations looks at every citation of docs/api.md in the code: there must be a
// section of that number. Each decision has an anchor of its number.
func TestCitations(t *testing.T) {
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/api.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]bool)
	for _, m := range decided.FindAllStringSubmatch(string(page), -1) {
		number := m[1] + m[2]
		if sections[number] {
			t.Errorf("docs/api.md has two sections %s", number)
		}
		sections[number] = true
		if m[2] != "" && !strings.Contains(string(page), `<a id="`+number+"\"></a>\n### "+number+" ") {
			t.Errorf("docs/api.md: section %s has no anchor of that name before it", number)
		}
	}
	citations := 0
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go" || filepath.Base(name) == "citations_test.go":
			return nil
		}
		code, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, m := range citation.FindAllStringSubmatch(string(code), -1) {
			citations++
			if !sections[m[1]] {
				t.Errorf("%s cites docs/api.md §%s, which does not exist", name, m[1])
			}
		}
		if elsewhere.Match(code) {
			t.Errorf("%s cites a document that is not part of the project: cite docs/api.md", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if citations == 0 {
		t.Error("no citation is found: does the test know how they are written?")
	}
}
