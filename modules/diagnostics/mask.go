package diagnostics

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/osa-edge/osa-gateway/internal/jsontoken"
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
	text := jsontoken.View(body)
	kept := 0 // text[:kept] has been dealt with
	for i := 0; i < len(text); {
		if text[i] != '"' {
			i++
			continue
		}
		end := jsontoken.StringEnd(text, i)
		value := jsontoken.SkipSpace(text, end)
		if value >= len(text) || text[value] != ':' {
			i = end
			continue
		}
		value = jsontoken.SkipSpace(text, value+1)
		if !sensitive(text[i:end]) || text[value] == 'n' { // null gives nothing away
			i = value
			continue
		}
		dst = append(dst, text[kept:value]...)
		dst = append(dst, masked...)
		kept = jsontoken.End(text, value)
		i = kept
	}
	return append(dst, text[kept:]...)
}

// sensitive reports whether the quoted name is that of a credential.
func sensitive(quoted string) bool {
	name := quoted[1 : len(quoted)-1]
	if strings.IndexByte(name, '\\') >= 0 {
		name = gjson.Parse(quoted).Str
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
