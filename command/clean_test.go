package command

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for s, want := range map[string]string{
		"":                                "",
		"plain ~ text":                    "plain ~ text",
		"Größe → 漢字 é ✓":                  "Größe → 漢字 é ✓",
		"e\u0301":                         "e\u0301",
		"\x1b[31mred":                     `\u{1b}[31mred`,
		"a\nb\r\tc\x00\x7f":               `a\u{a}b\u{d}\u{9}c\u{0}\u{7f}`,
		"\u0085\u009b31m":                 `\u{85}\u{9b}31m`,
		"\u202egpj.exe\u202c":             `\u{202e}gpj.exe\u{202c}`,
		"\u2066x\u2069\u061c":             `\u{2066}x\u{2069}\u{61c}`,
		"\u200e\u200f\u200b":              `\u{200e}\u{200f}\u{200b}`,
		"a\u200db\u200cc\u2060":           `a\u{200d}b\u{200c}c\u{2060}`,
		"\u2028\u2029\ufeff":              `\u{2028}\u{2029}\u{feff}`,
		"\u00ad\u00a0\u3000":              `\u{ad}\u{a0}\u{3000}`,
		"\U000e0041\U000e007f":            `\u{e0041}\u{e007f}`,
		"\ue000\U000f0000":                `\u{e000}\u{f0000}`,
		"\u0378\uffff":                    `\u{378}\u{ffff}`,
		"\u3164\u115f\ufe0f\u034f\u2800":  `\u{3164}\u{115f}\u{fe0f}\u{34f}\u{2800}`,
		"\xff\xc3":                        `\xff\xc3`,
		"\ufffd":                          "\ufffd",
		"\u0301x":                         `\u{301}x`,
		"a" + strings.Repeat("\u0301", 6): "a\u0301\u0301\u0301\u0301" + `\u{301}\u{301}`,
	} {
		if got := clean(s); got != want {
			t.Errorf("%+q becomes %+q, want %+q", s, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"a", "\x1b[2J", "\u202e", "e\u0301\u0301", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) || clean(got) != got {
			t.Errorf("%+q becomes %+q", s, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%+q lets %+q through", s, r)
			}
		}
	})
}
