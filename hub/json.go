package hub

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// object appends the members of one JSON object. It is written by hand because
// every event passes through it, and to guarantee that a `data:` line holds no
// line break whatever a sender sent.
type object struct{ b []byte }

const hexDigits = "0123456789abcdef"

// key appends a name, which must need no escaping, with the punctuation before
// it.
func (o *object) key(name string) {
	if c := o.b[len(o.b)-1]; c != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) open()  { o.b = append(o.b, '{') }
func (o *object) close() { o.b = append(o.b, '}') }
func (o *object) null()  { o.b = append(o.b, "null"...) }

func (o *object) string(name, v string) {
	o.key(name)
	o.b = appendString(o.b, v)
}

// stringOrNull writes null for an empty string.
func (o *object) stringOrNull(name, v string) {
	o.key(name)
	if v == "" {
		o.null()
		return
	}
	o.b = appendString(o.b, v)
}

func (o *object) strings(name string, v []string) {
	o.key(name)
	o.b = append(o.b, '[')
	for i, s := range v {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendString(o.b, s)
	}
	o.b = append(o.b, ']')
}

func (o *object) int(name string, v *int64) {
	o.key(name)
	if v == nil {
		o.null()
		return
	}
	o.b = strconv.AppendInt(o.b, *v, 10)
}

func (o *object) float(name string, v *float64) {
	o.key(name)
	if v == nil {
		o.null()
		return
	}
	o.b = appendFloat(o.b, *v)
}

func (o *object) bool(name string, v *bool) {
	o.key(name)
	if v == nil {
		o.null()
		return
	}
	o.b = strconv.AppendBool(o.b, *v)
}

// appendFloat writes a number as JavaScript does. NaN and infinity, which JSON
// does not have, become null.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendString appends s as a JSON string (RFC 8259 §7). Bytes that are not
// valid UTF-8 become U+FFFD, because an event stream is decoded as UTF-8.
// U+2028 and U+2029 are escaped because some readers take them for line ends.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028', r == '\u2029':
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
