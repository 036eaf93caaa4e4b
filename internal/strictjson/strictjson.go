// Package strictjson decodes JSON into Go values by the rules of docs/api.md
// §2.30: a member's name must match a field exactly, and a name must not occur
// twice in an object.
//
// encoding/json ignores case and uses the last of two members. Two programs
// could then read different values from one text. No other package decodes with
// encoding/json.
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

// Error says where a text is invalid. It contains names from the text and never
// a value.
type Error struct {
	// Path is the path of the member, such as `keys.0.expires_at`; "" is the
	// whole text.
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

// Unmarshal decodes the single JSON value in b into v. Unknown members are
// ignored. The error is an *Error.
func Unmarshal(b []byte, v any) error { return unmarshal(b, v) }

// UnmarshalKnown is Unmarshal, but unknown members are an error.
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
		// An Unmarshaler that calls this package reports a path of its own.
		if inner, ok := errors.AsType[*Error](semantic.Err); ok && inner.Reason != WrongType {
			return &Error{join(path(semantic.JSONPointer), inner.Path), inner.Reason}
		}
		return &Error{path(semantic.JSONPointer), WrongType}
	}
	return &Error{Reason: Malformed}
}

// longestPath limits the path in an error, because anybody may have written the
// text.
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
