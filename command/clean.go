package command

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// mostMarks is how many combining marks a character may carry. More only serve to
// write over the lines above and below.
const mostMarks = 4

// clean is s with everything escaped as \u{…} that is not printable text: control
// characters, changes of direction, what is invisible, unassigned or for private
// use, and floods of combining marks. What comes from outside can then neither
// command the terminal nor look like something else. Bytes that are not UTF-8 are
// escaped as \x….
func clean(s string) string {
	if plainText(s) {
		return s
	}
	var out strings.Builder
	marks := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, s[i])
			marks = mostMarks
		case unicode.Is(unicode.M, r) && printable(r):
			// A mark needs a character to stand on.
			if marks++; i == 0 || marks > mostMarks {
				fmt.Fprintf(&out, `\u{%x}`, r)
			} else {
				out.WriteRune(r)
			}
		case printable(r):
			marks = 0
			out.WriteRune(r)
		default:
			fmt.Fprintf(&out, `\u{%x}`, r)
			marks = mostMarks
		}
		i += size
	}
	return out.String()
}

func plainText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// printable reports whether r shows as itself.
func printable(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(ignorable, r)
}

// ignorable are the characters that show as nothing although they are letters,
// marks or symbols (Default_Ignorable_Code_Point), and the blank of Braille.
var ignorable = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1}, {Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xe0100, Hi: 0xe01ef, Stride: 1}},
}

// cleanJSON is a JSON text with the characters that clean would escape written as
// JSON's own escapes. They stand in strings only.
func cleanJSON(b []byte) []byte {
	if plainText(string(b)) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == '\n' || r < utf8.RuneSelf && r >= ' ' && r != 0x7f, r >= utf8.RuneSelf && printable(r):
			out = append(out, b[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[size:]
	}
	return out
}
