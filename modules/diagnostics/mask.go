package diagnostics

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// sensitiveWords are what names of members that hold credentials have in them,
// without case, underscores and dashes.
var sensitiveWords = []string{
	"token", "secret", "password", "passwd", "passphrase", "pwd", "authorization", "apikey", "authkey", "accesskey", "privatekey",
	"signingkey", "encryptionkey", "credential", "cookie", "bearer", "jwt", "signature",
}

const masked = `"***"`

// appendMasked appends the JSON text body with the values of sensitive members
// replaced, at any depth. Everything else stays byte for byte: numbers that no
// float can hold, repeated names, escapes. What is not JSON could hide a secret
// anywhere and becomes null.
//
// It goes over the tokens without a stack, so that no depth can exhaust it: in
// valid JSON a string before a colon is a name, wherever it stands.
func appendMasked(dst, body []byte) []byte {
	if !utf8.Valid(body) || !json.Valid(body) {
		return append(dst, "null"...)
	}
	kept := 0 // body[:kept] has been dealt with
	for i := 0; i < len(body); {
		if body[i] != '"' {
			i++
			continue
		}
		end := stringEnd(body, i)
		value := skipSpace(body, end)
		if value >= len(body) || body[value] != ':' {
			i = end
			continue
		}
		value = skipSpace(body, value+1)
		if !sensitive(body[i:end]) || body[value] == 'n' { // null gives nothing away
			i = value
			continue
		}
		dst = append(dst, body[kept:value]...)
		dst = append(dst, masked...)
		kept = valueEnd(body, value)
		i = kept
	}
	return append(dst, body[kept:]...)
}

// sensitive reports whether the quoted name is that of a credential.
func sensitive(quoted []byte) bool {
	name := string(quoted[1 : len(quoted)-1])
	if strings.IndexByte(name, '\\') >= 0 {
		name = gjson.ParseBytes(quoted).Str
	}
	name = strings.Map(func(r rune) rune {
		switch r {
		case '_', '-', ' ', '.':
			return -1
		}
		return r
	}, strings.ToLower(name))
	if name == "auth" {
		return true
	}
	for _, word := range sensitiveWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// stringEnd is where the string that begins at i ends.
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd is where the value that begins at i ends.
func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		for depth := 0; ; {
			switch b[i] {
			case '"':
				i = stringEnd(b, i)
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
	if n := bytes.IndexAny(b[i:], " \t\r\n,}]"); n >= 0 {
		return i + n
	}
	return len(b)
}
