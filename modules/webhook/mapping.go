package webhook

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/httperror"
)

// Mapping reads the webhooks of one kind of sender. Mappings are guest modules in the
// namespace osa.mapping, and safe for concurrent use.
type Mapping interface {
	// Map sets what the body says of the event, its DedupKey included, and returns all
	// invalid fields. The body is a JSON object, nested no deeper than maxDepth. e has
	// its BodyDigest. No string of e may share memory with the body.
	Map(body []byte, e *event.Event) []Invalid
}

// Invalid is an invalid field of a body, and why it is invalid.
type Invalid = httperror.Invalid

// Limits of what is read from a body. Longer identifiers are refused, because a shortened
// one would be another. Longer texts are cut.
const (
	maxIdentifier   = 256 // characters
	maxErrorMessage = 4 << 10
	maxDetail       = 256
	maxAffected     = 100
)

const null = "null"

// present reports whether a token is there. null is the same as absent.
func present(raw string) bool { return raw != "" && raw != null }

// identifier reads a JSON token that must be a string of at most maxIdentifier characters,
// none of them a control character. Otherwise problem says why it is invalid.
func identifier(raw string) (s, problem string) {
	if raw[0] != '"' {
		return "", "must be a string"
	}
	if s = raw[1 : len(raw)-1]; strings.IndexByte(s, '\\') >= 0 {
		if loneSurrogate(s) {
			return "", "must not contain half of a surrogate pair"
		}
		if len(s) > 12*maxIdentifier { // a pair of escapes is the longest character
			return "", "must not have more than 256 characters"
		}
		s = gjson.Parse(raw).Str
	}
	if len(s) > maxIdentifier && utf8.RuneCountInString(s) > maxIdentifier {
		return "", "must not have more than 256 characters"
	}
	if strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return "", "must not contain control characters"
	}
	return strings.Clone(s), ""
}

// loneSurrogate reports whether a valid JSON string, without its quotes, has an escaped
// UTF-16 surrogate that is not part of a pair. JavaScript has such strings, UTF-8 does not.
func loneSurrogate(s string) bool {
	for i := strings.IndexByte(s, '\\'); i >= 0 && i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if i++; s[i] != 'u' {
			continue
		}
		if s[i+1]|0x20 != 'd' || s[i+2] < '8' {
			i += 4
			continue
		}
		if !isHighSurrogate(s[i+2]) || len(s) < i+11 || s[i+5:i+7] != `\u` || s[i+7]|0x20 != 'd' || !isLowSurrogate(s[i+8]) {
			return true
		}
		i += 10
	}
	return false
}

// The third hexadecimal digit from the right distinguishes U+D800–DBFF from U+DC00–DFFF.
func isHighSurrogate(digit byte) bool {
	return digit == '8' || digit == '9' || digit|0x20 == 'a' || digit|0x20 == 'b'
}

func isLowSurrogate(digit byte) bool {
	return digit|0x20 >= 'c' && digit|0x20 <= 'f'
}

// text reads up to limit bytes of a JSON token that should be a string. For another type
// it returns "". Surrogates that are not part of a pair become U+FFFD.
func text(raw string, limit int) string {
	if raw == "" || raw[0] != '"' {
		return ""
	}
	s := raw[1 : len(raw)-1]
	if strings.IndexByte(s, '\\') >= 0 {
		s = gjson.Parse(prefix(raw, limit)).Str
	}
	return strings.Clone(clip(s, limit))
}

// clip cuts s to at most limit bytes, between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
