package caddyfile_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// containers are matchers of the example that hold other routes, or answer 404.
var containers = []string{"/api/*", "/api/webhooks/*"}

// TestOpenAPI holds the document against the example: they name the same paths,
// and what the document refers to is there.
func TestOpenAPI(t *testing.T) {
	b, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var documented []string
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	for path := range doc["paths"].(map[string]any) {
		documented = append(documented, parameter.ReplaceAllString(path, "*"))
	}
	slices.Sort(documented)

	var served []string
	for _, m := range regexp.MustCompile(`"path":\[([^\]]+)\]`).FindAllStringSubmatch(exampleTree(t), -1) {
		for path := range strings.SplitSeq(m[1], ",") {
			served = append(served, strings.Trim(path, `"`))
		}
	}
	slices.Sort(served)
	served = slices.Compact(served)
	served = slices.DeleteFunc(served, func(path string) bool { return slices.Contains(containers, path) })
	covered := make(map[string]bool)
	for _, path := range documented {
		found := false
		for _, pattern := range served {
			prefix, wild := strings.CutSuffix(pattern, "*")
			if pattern == path || wild && strings.HasPrefix(path, prefix) {
				found, covered[pattern] = true, true
			}
		}
		if !found {
			t.Errorf("%s is documented and not served by %q", path, served)
		}
	}
	for _, pattern := range served {
		if !covered[pattern] {
			t.Errorf("%s is served and not documented", pattern)
		}
	}

	for _, m := range regexp.MustCompile(`#/([\w/]+)`).FindAllStringSubmatch(string(b), -1) {
		var at any = doc
		for part := range strings.SplitSeq(m[1], "/") {
			node, ok := at.(map[string]any)
			if at = node[part]; !ok || at == nil {
				t.Errorf("#/%s is referred to and does not exist", m[1])
				break
			}
		}
	}

	operations := map[string]bool{}
	for _, m := range regexp.MustCompile(`operationId: (\w+)`).FindAllStringSubmatch(string(b), -1) {
		if operations[m[1]] {
			t.Errorf("operationId %s stands twice", m[1])
		}
		operations[m[1]] = true
	}
}
