package sensitive

import (
	"strings"
)

// The marks that stand in place of what was taken away: in answers and in logs.
const (
	Masked   = "***"
	Redacted = "REDACTED"
)

// Text is s with mark in place of what looks like a credential or a card number:
// keys and tokens by their shape, `Bearer …`, `name=value` where the name is a
// secret's, the user and the parameters of addresses. It returns s itself where
// there is nothing.
func Text(s, mark string) string { return maskText(s, mark, false) }

// URI is Text for a string that is an address, a path or a query. Names are
// compared as the receiver would read them, percent-encoding resolved. A query
// that cannot be parsed is taken away whole.
func URI(s, mark string) string { return maskText(s, mark, true) }

// LooksLikeURI reports whether a string that goes under no telling name is to be
// read as an address.
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
	// It hides behind its encoding: what cannot be told apart goes whole.
	if path, _, ok := strings.Cut(out, "?"); ok && !found(path) {
		if plain, settled := unescape(path); settled && !found(plain) {
			return path + "?" + mark
		}
	}
	return mark
}

// found reports whether there is anything to hide in s, percent-encoding aside.
func found(s string) bool {
	c := scanner{s: s, mark: Masked, uri: true, probe: true}
	c.scan()
	return c.found
}

// maxEncodingLayers is how often a text may be percent-encoded.
const maxEncodingLayers = 6

// unescape resolves percent-encoding, layer by layer, and leaves alone what is
// none. It reports false where there are more layers than that.
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

// malformed reports whether a query has an escape that is none.
func malformed(query string) bool {
	for i := 0; i < len(query); i++ {
		if query[i] == '%' && (i+2 >= len(query) || unhex(query[i+1]) == 16 || unhex(query[i+2]) == 16) {
			return true
		}
	}
	return false
}

// A scanner goes over a text once, from left to right. Looking back is bounded by
// longestName, so that the work is linear.
type scanner struct {
	s, mark    string
	uri, probe bool
	out        []byte
	done       int // s[:kept] has been dealt with
	found      bool

	// Where a look ahead has been before, so that nothing is looked at twice.
	decodedUntil int    // parts before it are clean when their encoding is resolved
	noJWT        int    // no JWT begins before it
	query        bool   // a query has begun
	valueEnd     [2]int // where the value ends that was looked at last
}

// hide hides s[from:to] and returns where to go on.
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

// What a byte may begin or decide.
const (
	plain  = iota
	letter // begins a word that may be a credential
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

// word looks at the word, or the rest of one, that begins at i, and returns where to
// go on.
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
		// The gateway's own keys and JWTs are found within words as well.
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

// decide looks at what the punctuation at i divides, and returns where to go on.
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

// How the parts of an address are told apart.
const (
	within = iota
	ends
	separates // a name and its value
	escapes
)

var parts = [256]uint8{'/': ends, '?': ends, '&': ends, ';': ends, '#': ends, '=': separates, ':': separates, '%': escapes}

// maxWholeComponent is up to which length the parts of an address are judged as a whole,
// if they have no escapes. Longer ones are judged as they come.
const maxWholeComponent = 1 << 10

// component looks at the part of an address that begins at i and returns where to
// go on: behind it where it is hidden, else at i.
func (c *scanner) component(i int) int {
	s := c.s
	end, percent := i, false
	for ; end < len(s) && (percent || end-i < maxWholeComponent); end++ {
		kind := parts[s[end]]
		if kind == ends {
			break
		}
		if kind == separates { // pair decides
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

// random reports whether a long part of an address looks like nothing that people
// or programs name by hand.
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

// encoded reports whether s[from:to] hides something behind its encoding.
func (c *scanner) encoded(from, to int) bool {
	if from < c.decodedUntil {
		return false
	}
	c.decodedUntil = to
	part := c.s[from:to]
	plain, settled := unescape(part)
	return !settled || plain != part && found(plain)
}

// looksSecret reports whether a value looks more like a secret than like a word.
func looksSecret(v string) bool {
	v = v[:min(len(v), 64)]
	digits := strings.ContainsAny(v, "0123456789")
	return len(v) >= 6 && digits || len(v) >= 16 && !strings.ContainsAny(v, " {}()<>")
}

// indexAny is the first place from i on that has one of the bytes, or the end.
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
