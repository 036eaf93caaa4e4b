// Package structure checks what no compiler checks: the direction of imports, doc
// comments, the length of files, and links in the documentation. Each test lists
// all violations at once.
package structure

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/osa-edge/osa-gateway"
)

// goFile is a Go file of the project.
type goFile struct {
	path string // from the root, with slashes
	*ast.File
	set *token.FileSet
	raw []byte
}

func (f goFile) dir() string  { return path.Dir(f.path) }
func (f goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// at is where a node stands, as an editor reads it.
func (f goFile) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.set.Position(n.Pos()).Line)
}

// walk calls visit for every file of the project, without test data and what git
// does not keep.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		base := path.Base(rel)
		hidden := strings.HasPrefix(base, ".") && rel != "." && base != ".github" && base != ".ci"
		if d.IsDir() && (hidden || base == "testdata" || base == "node_modules") {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			visit(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var parsed = sync.OnceValues(func() ([]goFile, error) {
	var files []goFile
	var first error
	walk(&testing.T{}, func(name string) {
		if !strings.HasSuffix(name, ".go") || first != nil {
			return
		}
		f := goFile{path: name, set: token.NewFileSet()}
		if f.raw, first = os.ReadFile(filepath.Join(root, name)); first != nil {
			return
		}
		f.File, first = parser.ParseFile(f.set, name, f.raw, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, f)
	})
	return files, first
})

// goFiles are all Go files of the project, whatever their build tags.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d Go files are found from %s", len(files), root)
	}
	return files
}

// report fails the test with all violations, sorted.
func report(t *testing.T, violations []string) {
	t.Helper()
	slices.Sort(violations)
	for _, v := range slices.Compact(violations) {
		t.Error(v)
	}
}

// maxLines is how long a Go file may be. Generated and copied files may be longer.
const maxLines = 400

func TestFilesAreShort(t *testing.T) {
	var found []string
	for _, f := range goFiles(t) {
		if ast.IsGenerated(f.File) || isCopied(f) {
			continue
		}
		if n := bytes.Count(f.raw, []byte("\n")); n > maxLines {
			found = append(found, f.path+" has "+strconv.Itoa(n)+" lines, of "+strconv.Itoa(maxLines)+" that it may have: split it by ideas")
		}
	}
	report(t, found)
}

// isCopied tells whether the head of a file says from where it is copied.
func isCopied(f goFile) bool {
	lines := bufio.NewScanner(bytes.NewReader(f.raw))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "package ") {
		if strings.HasPrefix(lines.Text(), "// Copied from ") {
			return true
		}
	}
	return false
}
