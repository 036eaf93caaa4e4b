package guard

import (
	"fmt"
	"net/http"
	"strings"
)

// verdict is the result of the check of the headers of a body.
type verdict int

const (
	refused verdict = iota
	accepted
	form // a form type under bearer credentials: JSON, if it is an object
)

const formType = "application/x-www-form-urlencoded"

// mediaType is a pattern, split at its `*` if it has one.
type mediaType struct {
	prefix, suffix string
	wild           bool
}

func (m mediaType) matches(s string) bool {
	if !m.wild {
		return strings.EqualFold(s, m.prefix)
	}
	return len(s) > len(m.prefix)+len(m.suffix) &&
		strings.EqualFold(s[:len(m.prefix)], m.prefix) && strings.EqualFold(s[len(s)-len(m.suffix):], m.suffix)
}

type mediaTypes []mediaType

func parseMediaTypes(patterns []string) (mediaTypes, error) {
	types := make(mediaTypes, 0, len(patterns))
	for _, p := range patterns {
		kind, sub, ok := strings.Cut(p, "/")
		if !ok || kind == "" || sub == "" || strings.ContainsAny(p, " \t,;\"") || strings.Count(p, "*") > 1 {
			return nil, fmt.Errorf("content type %q: want type/subtype without parameters, with at most one *", p)
		}
		prefix, suffix, wild := strings.Cut(p, "*")
		types = append(types, mediaType{prefix, suffix, wild})
	}
	if len(types) == 0 {
		return nil, fmt.Errorf("content_types is empty: no body could be sent at all")
	}
	return types, nil
}

func (m mediaTypes) accept(s string) bool {
	for _, t := range m {
		if t.matches(s) {
			return true
		}
	}
	return false
}

// check checks the type and encoding of a body. Parameters such as charset have no meaning
// for JSON (RFC 8259 §11) and are ignored.
func (m mediaTypes) check(h http.Header) verdict {
	if enc := h["Content-Encoding"]; len(enc) > 1 || (len(enc) == 1 && enc[0] != "" && !strings.EqualFold(enc[0], "identity")) {
		return refused
	}
	values := h["Content-Type"]
	if len(values) != 1 {
		return refused
	}
	s, _, _ := strings.Cut(values[0], ";")
	s = strings.TrimRight(s, " \t")
	switch {
	case m.accept(s):
		return accepted
	case strings.EqualFold(s, formType) && hasBearer(h) && m.accept("application/json"):
		return form // docs/api.md §2.26
	}
	return refused
}

func hasBearer(h http.Header) bool {
	const scheme = "Bearer "
	values := h["Authorization"]
	return len(values) == 1 && len(values[0]) > len(scheme) && strings.EqualFold(values[0][:len(scheme)], scheme)
}
