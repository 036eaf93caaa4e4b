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
func Text(s, mark string) string { return hide(s, mark, false) }

// URI is Text for a string that is an address, a path or a query. Names are
// compared as the receiver would read them, percent-encoding resolved. A query
// that cannot be parsed is taken away whole.
func URI(s, mark string) string { return hide(s, mark, true) }

// LooksLikeURI reports whether a string that goes under no telling name is to be
// read as an address.
func LooksLikeURI(s string) bool {
	if s == "" || s[0] == '/' || s[0] == '?' {
		return s != ""
	}
	return len(s) > 8 && strings.Contains(s[:min(len(s), 16)], "://") && !strings.ContainsAny(s, " \n")
}

func hide(s, mark string, uri bool) string {
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

// mostLayers is how often a text may be percent-encoded.
const mostLayers = 6

// unescape resolves percent-encoding, layer by layer, and leaves alone what is
// none. It reports false where there are more layers than that.
func unescape(s string) (string, bool) {
	for range mostLayers {
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
	kept       int // s[:kept] has been dealt with
	found      bool

	// Where a look ahead has been before, so that nothing is looked at twice.
	judged   int    // parts before it are clean when their encoding is resolved
	noJWT    int    // no JWT begins before it
	query    bool   // a query has begun
	valueEnd [2]int // where the value ends that was looked at last
}

// take hides s[from:to] and returns where to go on.
func (c *scanner) take(from, to int) int {
	from = max(from, c.kept)
	if from >= to {
		return to
	}
	if v := c.s[from:to]; v == Masked || v == Redacted {
		return to
	}
	c.found = true
	if !c.probe {
		c.out = append(c.out, c.s[c.kept:from]...)
		c.out = append(c.out, c.mark...)
	}
	c.kept = to
	return to
}

func (c *scanner) result() string {
	if !c.found {
		return c.s
	}
	return string(append(c.out, c.s[c.kept:]...))
}

// The bytes at which something may begin or be decided.
const (
	plain = iota
	letter
	digit
	equals
	colon
	at
	dash
	slash
	question
)

var classes = func() (t [256]uint8) {
	for _, b := range []byte("oObBgGxXaAeEsSrRwWnNpPdDhH") {
		t[b] = letter
	}
	for b := '0'; b <= '9'; b++ {
		t[b] = digit
	}
	t['='], t[':'], t['@'], t['-'], t['/'], t['?'] = equals, colon, at, dash, slash, question
	return t
}()

func (c *scanner) scan() {
	s := c.s
	if c.uri {
		c.component(0)
	}
	for i := 0; i < len(s) && (!c.probe || !c.found); {
		next := i + 1
		switch classes[s[i]] {
		case plain:
			i++
			continue
		case letter:
			if end := c.shape(i); end > 0 {
				next = c.take(i, end)
			} else if from, end := scheme(s, i); end > 0 {
				next = c.take(from, end)
			}
		case digit:
			if i == 0 || !wordByte(s[i-1]) && s[i-1] != '.' {
				end, card := number(s, i)
				if card {
					c.take(i, end)
				}
				next = end
			}
		case equals:
			next = c.pair(i, true)
		case colon:
			if strings.HasPrefix(s[i:], "://") {
				next = c.authority(i + 3)
				break
			}
			next = c.pair(i, false)
		case at:
			if c.uri {
				c.user(i)
			}
		case dash:
			if strings.HasPrefix(s[i:], "-----BEGIN ") {
				next = c.pem(i)
			}
		case slash:
			if c.uri {
				next = c.component(i + 1)
			}
		case question:
			if c.uri {
				if !c.query && malformed(s[i+1:]) {
					next = c.take(i+1, len(s))
					break
				}
				c.query = true
				next = c.component(i + 1)
			}
		}
		i = max(next, i+1)
	}
}

// component looks at the part of an address that begins at i and returns where to
// go on: behind it where it is hidden, else at i.
func (c *scanner) component(i int) int {
	s := c.s
	end, upper, lower, digits, percent := i, 0, 0, 0, false
	name := -1
	for ; end < len(s); end++ {
		b := s[end]
		if b == '/' || b == '?' || b == '&' || b == ';' || b == '#' {
			break
		}
		switch {
		case b == '=' || b == ':':
			name = end
		case b == '%':
			percent = true
		case b >= 'A' && b <= 'Z':
			upper++
		case b >= 'a' && b <= 'z':
			lower++
		case b >= '0' && b <= '9':
			digits++
		}
		if end-i > 1<<10 && !percent { // long parts are judged as they come
			return i
		}
	}
	if name >= 0 { // pair decides
		return i
	}
	part := s[i:end]
	if percent && c.encoded(i, end) {
		return c.take(i, end)
	}
	// Nothing that people or programs name by hand looks like this.
	if len(part) >= 32 && upper > 2 && lower > 2 && digits > 2 && !strings.ContainsAny(part, ".,:%() ") {
		return c.take(i, end)
	}
	// /token/abc123
	if end < len(s) && s[end] == '/' && len(part) > 2 && Name(part) {
		from := end + 1
		to := indexAny(s, from, "/?#")
		if telling(s[from:to]) {
			c.take(from, to)
			return to
		}
	}
	return i
}

// encoded reports whether s[from:to] hides something behind its encoding.
func (c *scanner) encoded(from, to int) bool {
	if from < c.judged {
		return false
	}
	c.judged = to
	part := c.s[from:to]
	plain, settled := unescape(part)
	return !settled || plain != part && found(plain)
}

// telling reports whether a value looks more like a secret than like a word.
func telling(v string) bool {
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

func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
}

func tokenByte(b byte) bool {
	return wordByte(b) || b == '-' || b == '.' || b == '~' || b == '+' || b == '=' || b == '%'
}
