package webhook

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxDepth is how deep a body may nest. What reads it further on recurses, so a
// body of ten million brackets must be turned away before.
const maxDepth = 1000

// Why a body is not a JSON object. The texts are what the sender is told.
var (
	errEncoding  = errors.New("the body is not valid UTF-8")
	errTooDeep   = errors.New("the body nests deeper than 1000 levels")
	errJSON      = errors.New("the body is not valid JSON")
	errNotObject = errors.New("the body must be a JSON object")
)

// checkBody tells whether the body is one JSON object (RFC 8259). A byte order
// mark is not JSON.
func checkBody(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return errEncoding
	case tooDeep(body):
		return errTooDeep
	case !gjson.ValidBytes(body):
		return errJSON
	case firstByte(body) != '{':
		return errNotObject
	}
	return nil
}

func tooDeep(body []byte) bool {
	// Nothing nests deeper than it has opening brackets, and counting those is
	// nearly free: only an unusual body is walked.
	if bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= maxDepth {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func firstByte(body []byte) byte {
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 {
		return body[0]
	}
	return 0
}
