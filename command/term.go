package command

import (
	"io"
	"os"

	"golang.org/x/term"
)

// paint colours words, on a terminal only.
type paint struct{ on bool }

// painterFor looks at where the output goes and at NO_COLOR
// (https://no-color.org: any value that is not empty switches colour off).
func painterFor(w io.Writer) paint {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return paint{}
	}
	f, ok := w.(*os.File)
	return paint{on: ok && term.IsTerminal(int(f.Fd()))}
}

func (p paint) wrap(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) bold(s string) string   { return p.wrap("1", s) }
func (p paint) dim(s string) string    { return p.wrap("2", s) }
func (p paint) red(s string) string    { return p.wrap("31", s) }
func (p paint) green(s string) string  { return p.wrap("32", s) }
func (p paint) yellow(s string) string { return p.wrap("33", s) }
func (p paint) cyan(s string) string   { return p.wrap("36", s) }
