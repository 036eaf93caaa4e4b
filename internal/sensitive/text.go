package sensitive

import (
	"strings"
)

// The marks that replace what was masked: in responses and in logs.
const (
	Masked   = "***"
	Redacted = "REDACTED"
)

// Text replaces everything in s that looks like a credential or a card number
// with mark: keys and tokens by their form, `Bearer …`, `name=value` where the
// name is a secret's, and the user and parameters of URLs. It returns s itself
// if there is nothing to replace.
func Text(s, mark string) string { return maskText(s, mark, false) }

// URI is Text for a URL, a path or a query. Names are compared after
// percent-decoding, as the receiver reads them. A query that cannot be parsed
// is replaced completely.
func URI(s, mark string) string { return maskText(s, mark, true) }

// LooksLikeURI reports whether a string without a telling name should be
// treated as a URL.
func LooksLikeURI(s string) bool {
	if s == "" || s[0] == '/' || s[0] == '?' {
		return s != ""
	}
	return len(s) > 8 && strings.Contains(s[:min(len(s), 16)], "://") && !strings.ContainsAny(s, " \n")
}

func maskText(s, mark string, uri bool) string {
	if len(s) < 6 {
		return s
	}
	c := scanner{s: s, mark: mark, uri: uri}
	c.scan()
	out := c.result()
	if strings.IndexByte(out, '%') < 0 {
		return out
	}
	if plain, settled := unescape(out); settled && !found(plain) {
		return out
	}
	// The encoding hides something. Replace the whole text, because its parts
	// cannot be located.
	if path, _, ok := strings.Cut(out, "?"); ok && !found(path) {
		if plain, settled := unescape(path); settled && !found(plain) {
			return path + "?" + mark
		}
	}
	return mark
}

// found reports whether there is anything to mask in s, without
// percent-decoding.
func found(s string) bool {
	c := scanner{s: s, mark: Masked, uri: true, probe: true}
	c.scan()
	return c.found
}

// maxEncodingLayers is how often a text may be percent-encoded.
const maxEncodingLayers = 6

// unescape resolves percent-encoding layer by layer and keeps invalid escapes.
// It returns false if there are more layers than that.
func unescape(s string) (string, bool) {
	for range maxEncodingLayers {
		b := make([]byte, 0, len(s))
		changed := false
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '+':
				b = append(b, ' ')
			case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
				b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
				i += 2
				changed = true
			default:
				b = append(b, s[i])
			}
		}
		s = string(b)
		if !changed {
			return s, true
		}
	}
	return s, false
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// malformed reports whether a query has an invalid escape.
func malformed(query string) bool {
	for i := 0; i < len(query); i++ {
		if query[i] == '%' && (i+2 >= len(query) || unhex(query[i+1]) == 16 || unhex(query[i+2]) == 16) {
			return true
		}
	}
	return false
}

// scanner reads a text once from left to right. It looks back at most
// maxNameLength bytes, so its time is linear.
type scanner struct {
	s, mark    string
	uri, probe bool
	out        []byte
	done       int // s[:done] was handled.
	found      bool

	// The parts before it contain nothing after decoding.
	decodedUntil int
	noJWT        int    // No JWT starts before it.
	query        bool   // A query has started.
	valueEnd     [2]int // The end of the last value.
}

// hide masks s[from:to] and returns where to continue.
func (c *scanner) hide(from, to int) int {
	from = max(from, c.done)
	if from >= to {
		return to
	}
	if v := c.s[from:to]; v == Masked || v == Redacted {
		return to
	}
	c.found = true
	if !c.probe {
		c.out = append(c.out, c.s[c.done:from]...)
		c.out = append(c.out, c.mark...)
	}
	c.done = to
	return to
}

func (c *scanner) result() string {
	if !c.found {
		return c.s
	}
	return string(append(c.out, c.s[c.done:]...))
}

// What a byte may start or separate.
const (
	plain  = iota
	letter // Starts a word that may be a credential.
	digit
	equals
	colon
	at
	dash
	slash
	question
)

var classes = func() (t [256]uint8) {
	for _, b := range []byte("bBh") {
		t[b] = letter
	}
	for _, shape := range shapes {
		t[shape.begin[0]] = letter
	}
	for b := '0'; b <= '9'; b++ {
		t[b] = digit
	}
	t['='], t[':'], t['@'], t['-'], t['/'], t['?'] = equals, colon, at, dash, slash, question
	return t
}()

func (c *scanner) scan() {
	s := c.s
	i := 0
	if c.uri {
		i = c.component(0)
	}
	for i < len(s) {
		if wordBytes[s[i]] {
			i = c.word(i)
		} else if class := classes[s[i]]; class != plain {
			i = max(c.decide(i, class), i+1)
		} else {
			i++
		}
		if c.probe && c.found {
			return
		}
	}
}

// word handles the word, or the rest of one, at i, and returns where to
// continue.
func (c *scanner) word(i int) int {
	s := c.s
	if class := classes[s[i]]; class != plain && (i == 0 || !wordBytes[s[i-1]]) {
		switch class {
		case letter:
			if end := shape(s, i); end > 0 {
				return c.hide(i, end)
			}
			if from, end := scheme(s, i); end > 0 {
				return c.hide(from, end)
			}
		case digit:
			if i == 0 || s[i-1] != '.' {
				if end, card := number(s, i); card {
					return c.hide(i, end)
				}
			}
		}
	}
	for ; i < len(s) && wordBytes[s[i]]; i++ {
		// The gateway's own keys and JWTs may start within a word.
		switch s[i] {
		case '_':
			if end := ownKeyEnd(s, i-4); end > 0 {
				return c.hide(i-4, end)
			}
		case 'J':
			if end := c.jwt(i - 2); end > 0 {
				return c.hide(i-2, end)
			}
		}
	}
	return i
}

// decide handles the punctuation at i and returns where to continue.
func (c *scanner) decide(i int, class uint8) int {
	s := c.s
	switch class {
	case equals:
		return c.pair(i, true)
	case colon:
		if strings.HasPrefix(s[i:], "://") {
			return c.authority(i + 3)
		}
		return c.pair(i, false)
	case at:
		if c.uri {
			c.user(i)
		}
	case dash:
		if strings.HasPrefix(s[i:], "-----BEGIN ") {
			return c.pem(i)
		}
	case slash:
		if c.uri {
			return c.component(i + 1)
		}
	case question:
		if c.uri {
			if !c.query && malformed(s[i+1:]) {
				return c.hide(i+1, len(s))
			}
			c.query = true
			return c.component(i + 1)
		}
	}
	return i + 1
}

// How the parts of a URL are separated.
const (
	within = iota
	ends
	separates // a name and its value
	escapes
)

var parts = [256]uint8{'/': ends, '?': ends, '&': ends, ';': ends, '#': ends, '=': separates, ':': separates, '%': escapes}

// maxWholeComponent is the longest part of a URL that is examined as a whole,
// if it has no escapes.
const maxWholeComponent = 1 << 10

// component handles the part of a URL at i. It returns the end if the part is
// masked, else i.
func (c *scanner) component(i int) int {
	s := c.s
	end, percent := i, false
	for ; end < len(s) && (percent || end-i < maxWholeComponent); end++ {
		kind := parts[s[end]]
		if kind == ends {
			break
		}
		if kind == separates { // pair handles it.
			return i
		}
		percent = percent || kind == escapes
	}
	part := s[i:end]
	if percent && c.encoded(i, end) {
		return c.hide(i, end)
	}
	if len(part) >= 32 && random(part) {
		return c.hide(i, end)
	}
	// /token/abc123
	if end < len(s) && s[end] == '/' && Name(part) {
		from := end + 1
		to := indexAny(s, from, "/?#")
		if looksSecret(s[from:to]) {
			return c.hide(from, to)
		}
	}
	return i
}

// random reports whether a long part of a URL looks unlike names that people or
// programs choose.
func random(part string) bool {
	upper, lower, digits := 0, 0, 0
	for i := range len(part) {
		switch b := part[i]; {
		case b >= 'A' && b <= 'Z':
			upper++
		case b >= 'a' && b <= 'z':
			lower++
		case b >= '0' && b <= '9':
			digits++
		case b != '-' && b != '_':
			return false
		}
	}
	return upper > 2 && lower > 2 && digits > 2
}

// encoded reports whether s[from:to] hides something in its encoding.
func (c *scanner) encoded(from, to int) bool {
	if from < c.decodedUntil {
		return false
	}
	c.decodedUntil = to
	part := c.s[from:to]
	plain, settled := unescape(part)
	return !settled || plain != part && found(plain)
}

// looksSecret reports whether a value looks more like a secret than like a
// word.
func looksSecret(v string) bool {
	v = v[:min(len(v), 64)]
	digits := strings.ContainsAny(v, "0123456789")
	return len(v) >= 6 && digits || len(v) >= 16 && !strings.ContainsAny(v, " {}()<>")
}

// indexAny returns the index of the first of the bytes at or after i, or the
// end.
func indexAny(s string, i int, bytes string) int {
	if n := strings.IndexAny(s[i:], bytes); n >= 0 {
		return i + n
	}
	return len(s)
}

// wordBytes are letters, digits and the underscore.
var wordBytes = func() (t [256]bool) {
	for b := range t {
		t[b] = b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
	}
	return t
}()

func wordByte(b byte) bool { return wordBytes[b] }

func tokenByte(b byte) bool {
	return wordByte(b) || b == '-' || b == '.' || b == '~' || b == '+' || b == '=' || b == '%'
}
