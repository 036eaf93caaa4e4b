package osa

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// PathBelow returns what follows the prefix in the request's path: "" for the prefix
// itself, and otherwise something that begins with a slash. ok is false for any other
// path. The path is cleaned and compared as Caddy's path matcher does it: without
// double slashes and dots, and without regard to case.
func PathBelow(r *http.Request, prefix string) (rest string, ok bool) {
	path := caddyhttp.CleanPath(r.URL.Path, true)
	if len(path) < len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) {
		return "", false
	}
	rest = path[len(prefix):]
	return rest, rest == "" || rest[0] == '/'
}

// CheckPathPrefix says what is wrong with a handler's path_prefix.
func CheckPathPrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.ContainsAny(prefix, "?#* ") ||
		prefix != caddyhttp.CleanPath(prefix, true) {
		return fmt.Errorf("path_prefix is %q; it must be a path such as /api/events, without a slash at its end", prefix)
	}
	return nil
}
