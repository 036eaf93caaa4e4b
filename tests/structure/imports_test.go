package structure

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the rooms of the project from top to bottom. A package imports from
// its own room and from the rooms below, directly or through others. The packages
// in internal belong to no room: each stands just above what it imports.
var layers = [][]string{
	{"cmd"},
	{"."},
	{"caddyfile", "command"},
	{"modules/*"},
	{"modules/osa"},
	{"hub"},
	{"eventlog"},
	{"storage"},
	{"event", "signature"},
}

// withoutCaddy are the rooms that know nothing of Caddy.
var withoutCaddy = []string{"event", "eventlog", "hub", "storage", "signature"}

// forTests are packages that only tests import.
var forTests = []string{"internal/chaintest", "internal/disk/simdisk", "internal/memstore", "internal/osatest", "storage/storagetest"}

// roomOf is the room of a package and its layer; a package in internal or tests has
// none.
func roomOf(dir string) (room string, layer int, ok bool) {
	first, rest, _ := strings.Cut(dir, "/")
	room = first
	if first == "modules" {
		name, _, _ := strings.Cut(rest, "/")
		room = "modules/" + name
	}
	for i, names := range layers {
		if slices.Contains(names, room) {
			return room, i, true
		}
	}
	if first == "modules" {
		return room, slices.IndexFunc(layers, func(names []string) bool { return slices.Contains(names, "modules/*") }), true
	}
	return "", 0, false
}

// imports are what the packages of the project import, without their tests: paths
// from the root for those of the project, full ones for others.
func imports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := make(map[string]map[string]bool)
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		if all[f.dir()] == nil {
			all[f.dir()] = make(map[string]bool)
		}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if name == module {
				name = "."
			}
			all[f.dir()][strings.TrimPrefix(name, module+"/")] = true
		}
	}
	return all
}

// reach calls visit for everything that a package imports, with the way there.
func reach(all map[string]map[string]bool, from string, visit func(way []string, to string)) {
	seen := map[string]bool{from: true}
	var follow func(way []string)
	follow = func(way []string) {
		for _, next := range slices.Sorted(maps.Keys(all[way[len(way)-1]])) {
			if seen[next] {
				continue
			}
			seen[next] = true
			visit(way, next)
			follow(append(slices.Clip(way), next))
		}
	}
	follow([]string{from})
}

func TestImportsPointDown(t *testing.T) {
	all := imports(t)
	var found []string
	for dir := range all {
		room, layer, ok := roomOf(dir)
		if !ok && !strings.HasPrefix(dir, "internal/") && !strings.HasPrefix(dir, "tests/") {
			found = append(found, dir+" has no place in the layers: give it one in tests/structure and docs/architecture.md")
		}
		if !ok {
			continue
		}
		reach(all, dir, func(way []string, to string) {
			target, below, ok := roomOf(to)
			if ok && target != room && below <= layer {
				found = append(found, fmt.Sprintf("%s imports %s, which is not below it: by way of %s", dir, to, strings.Join(way, " → ")))
			}
			if strings.HasPrefix(to, "tests/") {
				found = append(found, fmt.Sprintf("%s imports %s", dir, to))
			}
		})
	}
	report(t, found)
}

func TestCoreKnowsNoCaddy(t *testing.T) {
	all := imports(t)
	var found []string
	for dir := range all {
		if room, _, ok := roomOf(dir); !ok || !slices.Contains(withoutCaddy, room) {
			continue
		}
		reach(all, dir, func(way []string, to string) {
			if strings.HasPrefix(to, "github.com/caddyserver/") {
				found = append(found, fmt.Sprintf("%s imports %s by way of %s", dir, to, strings.Join(way, " → ")))
			}
		})
	}
	report(t, found)
}

func TestHelpersOfTestsStayInTests(t *testing.T) {
	all := imports(t)
	var found []string
	for _, dir := range forTests {
		if all[dir] == nil {
			found = append(found, dir+" does not exist: take it out of the list in tests/structure")
		}
	}
	for dir, imported := range all {
		if strings.HasPrefix(dir, "tests/") || slices.Contains(forTests, dir) {
			continue
		}
		for _, name := range forTests {
			if imported[name] {
				found = append(found, dir+" imports "+name+", which is for tests")
			}
		}
	}
	report(t, found)
}
