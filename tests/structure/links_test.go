package structure

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence      = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	codeSpan   = regexp.MustCompile("`[^`\n]*`")
	inlineLink = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	refLink    = regexp.MustCompile(`(?m)^\[[^\]]+\]:\s+(\S+)`)
	htmlLink   = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	heading    = regexp.MustCompile(`(?m)^#{1,6}\s+(.*?)\s*#*\s*$`)
	htmlAnchor = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	pages := make(map[string]string)
	walk(t, func(name string) {
		if strings.HasSuffix(name, ".md") {
			raw, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			pages[name] = string(raw)
		}
	})
	if pages["README.md"] == "" {
		t.Fatal("README.md is not found")
	}
	var found []string
	for page, text := range pages {
		text = codeSpan.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, pattern := range []*regexp.Regexp{inlineLink, refLink, htmlLink} {
			for _, m := range pattern.FindAllStringSubmatch(text, -1) {
				if problem := follow(page, m[1], pages); problem != "" {
					found = append(found, fmt.Sprintf("%s: the link %s leads nowhere: %s", page, m[1], problem))
				}
			}
		}
	}
	report(t, found)
}

// follow says what is wrong with a link of a page. Links out of the repository are
// not followed.
func follow(page, link string, pages map[string]string) string {
	u, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return ""
	}
	target := page
	if u.Path != "" {
		target = path.Join(path.Dir(page), u.Path)
		if _, err := os.Stat(filepath.Join(root, target)); err != nil {
			return "there is no " + target
		}
	}
	if u.Fragment == "" {
		return ""
	}
	if text, ok := pages[target]; !ok || !anchors(text)[u.Fragment] {
		return "there is no such heading in " + target
	}
	return ""
}

// anchors are what a fragment can name in a page: headings, as GitHub makes names
// of them, and anchors in HTML.
func anchors(text string) map[string]bool {
	text = fence.ReplaceAllString(text, "")
	all := make(map[string]bool)
	for _, m := range htmlAnchor.FindAllStringSubmatch(text, -1) {
		all[m[1]] = true
	}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := slug(m[1])
		unique := name
		for i := 1; all[unique]; i++ {
			unique = fmt.Sprintf("%s-%d", name, i)
		}
		all[unique] = true
	}
	return all
}

func slug(title string) string {
	title = linkText.ReplaceAllString(title, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

// sourcePath is a code span that names a file or folder of the project. A name
// with a placeholder, such as <name>, names none.
var sourcePath = regexp.MustCompile("`((?:cmd|caddyfile|command|docs|event|eventlog|hub|internal|modules|signature|storage|tests)/[\\w./-]*\\w)/?`")

// TestPathsExist checks the files and folders that documents name.
func TestPathsExist(t *testing.T) {
	var found []string
	paths := 0
	walk(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range sourcePath.FindAllSubmatch(text, -1) {
			paths++
			if _, err := os.Stat(filepath.Join(root, string(m[1]))); err != nil {
				found = append(found, fmt.Sprintf("%s names %s, which does not exist", name, m[1]))
			}
		}
	})
	if paths < 50 {
		t.Errorf("only %d paths are found in the documents", paths)
	}
	report(t, found)
}
