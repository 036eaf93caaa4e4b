// Package jsontoken finds the ends of tokens in valid JSON (RFC 8259) without
// recursion and without a copy, because a text may be as large as the memory
// for request bodies.
package jsontoken

import (
	"strings"
	"unsafe"
)

// View returns b as a string that shares its memory. b must not be changed
// while the string is in use.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// SkipSpace returns the index of the first character at or after i that is not
// white space.
func SkipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// End returns the end of the value that begins at i.
func End(s string, i int) int {
	switch s[i] {
	case '"':
		return StringEnd(s, i)
	case '{', '[':
		for depth := 0; ; {
			switch s[i] {
			case '"':
				i = StringEnd(s, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if i++; depth == 0 {
				return i
			}
		}
	}
	for i < len(s) && s[i] > ' ' && s[i] != ',' && s[i] != '}' && s[i] != ']' {
		i++
	}
	return i
}

// StringEnd returns the end of the string that begins at i.
func StringEnd(s string, i int) int {
	for i++; ; {
		end := i + strings.IndexByte(s[i:], '"')
		escape := strings.IndexByte(s[i:end], '\\')
		if escape < 0 {
			return end + 1
		}
		i += escape + 2
		for i < len(s) && s[i-1] != '"' && s[i] == '\\' {
			i += 2 // Consecutive escapes need no search.
		}
	}
}
