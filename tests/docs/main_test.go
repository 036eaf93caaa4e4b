// Package docs runs what the documentation shows. Every Caddyfile in it starts
// the real gateway and is asked for what its directives promise; every command in
// it is run. What cannot be run stands in a table with the reason.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// languages of blocks that are not run, and why.
var languages = map[string]string{
	"":        "the syntax of a directive, not an example",
	"json":    "an answer, not a request",
	"ini":     "a unit of systemd",
	"mermaid": "a drawing",
	"js":      "a page's script: tests/clients follows streams with a browser and with node",
}

// block is a piece of code in a document.
type block struct {
	page, language, text string
	n                    int // of its page, from 1
}

func (b block) String() string {
	return strings.NewReplacer("/", "_", ".md", "").Replace(b.page) + "_" + strconv.Itoa(b.n)
}

var fence = regexp.MustCompile("(?ms)^( *)```([a-z]*)[^\n]*\n(.*?)^ *```$")

// blocks are all of README.md and docs/.
func blocks(t *testing.T) (all []block) {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{filepath.Join(root, "README.md")}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, page)
		if err != nil {
			t.Fatal(err)
		}
		found := fence.FindAllStringSubmatch(string(b), -1)
		if fences := strings.Count("\n"+string(b), "\n```"); fences > 2*len(found) {
			t.Errorf("%s: %d fences and %d blocks: one does not end", name, fences, len(found))
		}
		for i, m := range found {
			// Within a list, blocks are indented.
			text := strings.ReplaceAll("\n"+m[3], "\n"+m[1], "\n")[1:]
			all = append(all, block{page: name, language: m[2], text: text, n: i + 1})
		}
	}
	return all
}

// TestEveryLanguageIsKnown: a block of a language that nobody runs needs a reason.
func TestEveryLanguageIsKnown(t *testing.T) {
	seen := make(map[string]bool)
	for _, b := range blocks(t) {
		seen[b.language] = true
		switch b.language {
		case "caddyfile", "sh":
			continue
		}
		if _, known := languages[b.language]; !known {
			t.Errorf("%s, block %d is %q, which is neither run nor has a reason why not", b.page, b.n, b.language)
		}
	}
	if !seen["caddyfile"] || !seen["sh"] {
		t.Error("the documentation shows no Caddyfile or no command")
	}
}
