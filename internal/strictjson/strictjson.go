// Package strictjson decodes JSON into Go values by the rules of docs/api.md §2.30:
// a member's name matches a field exactly, byte for byte, and no name may be given
// twice in one object.
//
// encoding/json matches names without case and lets the last of two win. Whoever
// checks one member while somebody else reads the other is then deceived, so
// nothing outside this package decodes with encoding/json.
package strictjson

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Reason is what is wrong with a JSON text.
type Reason string

// The reasons.
const (
	Malformed Reason = "is not valid JSON"
	WrongType Reason = "has the wrong type"
	Unknown   Reason = "is not a known member"
	Repeated  Reason = "is given twice"
)

// Error says where a text is wrong. It holds names out of the text and never a
// value.
type Error struct {
	// Path leads to the member, as in `keys.0.expires_at`; "" is the whole text.
	Path   string
	Reason Reason
}

// Error names the member and says what is wrong with it.
func (e *Error) Error() string {
	if e.Path == "" {
		return "the JSON text " + string(e.Reason)
	}
	return fmt.Sprintf("%q %s", e.Path, e.Reason)
}

// Unmarshal decodes the one JSON value that b holds into the value that v points
// to. Members that v has no field for are ignored. The error is an *Error.
func Unmarshal(b []byte, v any) error { return unmarshal(b, v) }

// UnmarshalKnown is Unmarshal, but refuses members that v has no field for.
func UnmarshalKnown(b []byte, v any) error {
	return unmarshal(b, v, json.RejectUnknownMembers(true))
}

func unmarshal(b []byte, v any, opts ...json.Options) error {
	err := json.Unmarshal(b, v, opts...)
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return &Error{path(syntax.JSONPointer), Repeated}
		}
		return &Error{Reason: Malformed}
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		if errors.Is(err, json.ErrUnknownName) {
			return &Error{path(semantic.JSONPointer), Unknown}
		}
		// An Unmarshaler that decodes its value itself has a path of its own.
		if inner, ok := errors.AsType[*Error](semantic.Err); ok && inner.Reason != WrongType {
			return &Error{join(path(semantic.JSONPointer), inner.Path), inner.Reason}
		}
		return &Error{path(semantic.JSONPointer), WrongType}
	}
	return &Error{Reason: Malformed}
}

// longestPath bounds what is repeated of a text that anybody may have written.
const longestPath = 128

func path(p jsontext.Pointer) string {
	var names []string
	for name := range p.Tokens() {
		names = append(names, name)
	}
	s := strings.ToValidUTF8(strings.Join(names, "."), "")
	if len(s) <= longestPath {
		return s
	}
	cut := longestPath
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func join(outer, inner string) string {
	if outer == "" || inner == "" {
		return outer + inner
	}
	return outer + "." + inner
}
