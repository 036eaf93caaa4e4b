// Package jsontoken finds the ends of tokens in valid JSON (RFC 8259), without a
// stack and without a copy: a text may be as large as all that is held of bodies at
// once allows.
package jsontoken

import (
	"strings"
	"unsafe"
)

// View is b as a string that shares its memory. It is valid for as long as nobody
// changes b.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// SkipSpace is the first place from i on that is no white space.
func SkipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// End is where the value ends that begins at i.
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

// StringEnd is where the string ends that begins at i.
func StringEnd(s string, i int) int {
	for i++; ; {
		end := i + strings.IndexByte(s[i:], '"')
		escape := strings.IndexByte(s[i:end], '\\')
		if escape < 0 {
			return end + 1
		}
		i += escape + 2
		for i < len(s) && s[i-1] != '"' && s[i] == '\\' {
			i += 2 // escapes that follow each other need no search
		}
	}
}
