// Package query reads the query string of a request. Every endpoint that takes
// parameters reads them here, so that a name has one meaning everywhere
// (docs/api.md §2.29):
//
//   - A repeated name is a list: any of its values.
//   - Values of a known vocabulary (types, statuses, sources) may also be separated
//     by commas. Ids and names are taken as they are.
//   - Nothing is trimmed.
//   - Unknown names, empty values and repeated single values are refused by name.
//
// No message contains a value: it may be a credential in the wrong place.
package query

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what a request may ask for.
const (
	maxValues      = 100 // of a list
	maxValueLength = 256 // characters
	// maxNameLength is how much is repeated of a name that is not known.
	maxNameLength = 32
)

// Invalid is one error in a request.
type Invalid struct {
	// Field is the parameter's name, or "query" for other errors.
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Params reads the parameters of a query and remembers which were read, so that
// the others are reported as unknown.
type Params struct {
	values url.Values
	known  map[string]bool
	bad    []Invalid
}

// Parse parses a raw query string.
func Parse(raw string) *Params {
	p := &Params{known: make(map[string]bool)}
	var err error
	if p.values, err = url.ParseQuery(raw); err != nil {
		p.Refuse("query", "is malformed")
	}
	return p
}

// Refuse reports an error in a parameter. The message must not contain its
// value.
func (p *Params) Refuse(field, format string, args ...any) {
	p.bad = append(p.bad, Invalid{field, fmt.Sprintf(format, args...)})
}

// Invalid returns all errors in the order of the names. It is called last,
// because parameters that were not read are unknown.
func (p *Params) Invalid() []Invalid {
	for name := range p.values {
		switch {
		case p.known[name]:
		case name == "":
			p.Refuse("query", "has a parameter without a name")
		default:
			p.Refuse(clip(name), "is not a parameter of this endpoint")
		}
	}
	p.values = nil
	slices.SortFunc(p.bad, func(a, b Invalid) int {
		if c := strings.Compare(a.Field, b.Field); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return p.bad
}

// Fill sets a parameter from another form, which messages call from. A
// parameter that is set in both forms is an error. others are further names of
// the parameter.
func (p *Params) Fill(from, name string, values []string, others ...string) {
	for _, given := range slices.Concat(others, []string{name}) {
		if p.values.Has(given) {
			p.Refuse(given, "is given as a parameter and in %s", from)
			return
		}
	}
	if p.values == nil {
		p.values = make(url.Values)
	}
	p.values[name] = values
}

// One reads a parameter with one value. names are the names of the parameter;
// if several are given, their values must be equal.
func (p *Params) One(names ...string) (value string, ok bool) {
	for _, name := range names {
		p.known[name] = true
		values, given := p.values[name]
		switch {
		case !given:
		case len(values) > 1:
			p.Refuse(name, "is given more than once")
		case len(values) == 0 || values[0] == "":
			p.Refuse(name, "must not be empty")
		case !ok:
			value, ok = values[0], true
		case values[0] != value:
			p.Refuse(name, "is given under another name with another value")
		}
	}
	return value, ok
}

// Number reads a whole number from least to most.
func (p *Params) Number(name string, least, most int) (n int, ok bool) {
	s, ok := p.One(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		p.Refuse(name, "must be a number from %d to %d", least, most)
		return 0, false
	}
	return n, true
}

// Bool reads true, false, 1 or 0.
func (p *Params) Bool(name string) (value, ok bool) {
	s, ok := p.One(name)
	switch {
	case !ok:
		return false, false
	case s == "true" || s == "1":
		return true, true
	case s == "false" || s == "0":
		return false, true
	}
	p.Refuse(name, "must be true or false")
	return false, false
}

// Choice reads one of the given words.
func (p *Params) Choice(name string, words ...string) (word string, ok bool) {
	s, ok := p.One(name)
	if !ok {
		return "", false
	}
	if !slices.Contains(words, s) {
		p.Refuse(name, "must be one of %s", strings.Join(words, ", "))
		return "", false
	}
	return s, true
}

// IDs reads a list of values that are taken as they are. names are the names of
// the parameter.
func (p *Params) IDs(names ...string) []string {
	return p.list(names, func(value string, take func(string)) { take(value) })
}

// Words reads a list of values that may also be separated by commas.
func (p *Params) Words(names ...string) []string {
	return p.list(names, func(value string, take func(string)) {
		for word := range strings.SplitSeq(value, ",") {
			take(word)
		}
	})
}

// list reads a list. A list that is present and empty is an error: if it
// counted as absent, it would select everything.
func (p *Params) list(names []string, each func(value string, take func(string))) (out []string) {
	for _, name := range names {
		p.known[name] = true
		values, given := p.values[name]
		empty, long := given && len(values) == 0, false
		for _, value := range values {
			each(value, func(s string) {
				empty = empty || s == ""
				long = long || !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxValueLength
				out = append(out, s)
			})
		}
		switch {
		case empty:
			p.Refuse(name, "must not be empty, nor one of its values")
		case long:
			p.Refuse(name, "must have values of at most %d characters of UTF-8", maxValueLength)
		case given && len(out) > maxValues:
			p.Refuse(name, "must not have more than %d values", maxValues)
		}
	}
	return out
}

// clip shortens an unknown name. Every known name fits; a credential does not.
func clip(name string) string {
	name = strings.ToValidUTF8(name, "�")
	if len(name) <= maxNameLength {
		return name
	}
	cut := maxNameLength / 2
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "…"
}
