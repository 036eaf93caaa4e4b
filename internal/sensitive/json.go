package sensitive

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/osa-edge/osa-gateway/internal/jsontoken"
)

// AppendMasked appends the JSON text body with mark in place of every string that is
// sensitive: all strings below a member with a secret's name, the value of a
// name and value pair (`{"name":"Authorization","value":"…"}`), and in all other
// strings what Text and URI find. Strings that hold JSON are looked into. Numbers,
// booleans and null are never replaced, and everything that is not stays byte for
// byte. What is not JSON could hide a secret anywhere and becomes null.
//
// Depth costs no stack, and the work is linear in the length of body.
func AppendMasked(dst, body []byte, mark string) []byte { return appendMasked(dst, body, mark, 0) }

// AppendAllMasked is AppendMasked for a value that is a secret as a whole.
func AppendAllMasked(dst, body []byte, mark string) []byte {
	if !utf8.Valid(body) || !json.Valid(body) {
		return append(dst, "null"...)
	}
	text := jsontoken.View(body)
	m := masker{text: text, mark: mark, spans: []span{{0, len(text)}}}
	return m.append(dst)
}

// maxEmbeddedDepth is how deep JSON in strings in JSON is looked into. What is deeper is
// taken away whole.
const maxEmbeddedDepth = 4

func appendMasked(dst, body []byte, mark string, level int) []byte {
	if !utf8.Valid(body) || !json.Valid(body) {
		return append(dst, "null"...)
	}
	m := masker{text: jsontoken.View(body), mark: mark, level: level}
	m.find()
	return m.append(dst)
}

// span is a part of the text.
type span struct{ from, to int }

type masker struct {
	text, mark string
	level      int
	spans      []span // values of which every string is masked, by where they begin
}

// frame is an object or array that is open.
type frame struct {
	from    int
	object  bool
	inner   bool // an array in an array
	past    bool // its first element is past
	second  bool // its second element is next, and the first one names a secret
	secret  bool // a member, or the array's first element, has named a secret
	several bool // more than one value came before the name
	waits   bool // the value is open
	value   span // the value that came before the name
}

// find finds the values of secret members and pairs. In valid JSON a string before a
// colon is a name, wherever it stands.
func (m *masker) find() {
	text := m.text
	var room [16]frame
	stack := room[:0]
	sorted := true
	for i := 0; i < len(text); {
		switch text[i] {
		case '{', '[':
			inner := text[i] == '[' && len(stack) > 0 && !stack[len(stack)-1].object
			stack = append(stack, frame{from: i, object: text[i] == '{', inner: inner})
			i++
		case '}', ']':
			f := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			i++
			if f.object && f.secret && f.value.from > 0 {
				v := f.value
				if f.several {
					v = span{f.from, i}
				}
				m.spans = append(m.spans, v)
				sorted = false
			}
			if len(stack) > 0 && stack[len(stack)-1].object && stack[len(stack)-1].waits {
				top := &stack[len(stack)-1]
				top.waits, top.value.to = false, i
			}
		case ',':
			if f := &stack[len(stack)-1]; f.inner {
				f.second = f.secret && !f.past
				f.past = true
			}
			i++
		case '"':
			end := jsontoken.StringEnd(text, i)
			value := jsontoken.SkipSpace(text, end)
			if value < len(text) && text[value] == ':' {
				i = m.member(&stack[len(stack)-1], unquote(text[i:end]), jsontoken.SkipSpace(text, value+1))
				continue
			}
			if len(stack) > 0 && stack[len(stack)-1].inner {
				switch f := &stack[len(stack)-1]; {
				case f.second:
					m.spans = append(m.spans, span{i, end})
					f.second = false
				case !f.past:
					f.secret = Name(unquote(text[i:end]))
				}
			}
			i = end
		default:
			i++
		}
	}
	if !sorted {
		slices.SortFunc(m.spans, func(a, b span) int { return a.from - b.from })
	}
}

// member looks at a member of the object by its name and returns where to go on:
// at its value or, where that is masked, behind it.
func (m *masker) member(f *frame, name string, value int) int {
	text := m.text
	holds := text[value] == '"' || text[value] == '{' || text[value] == '['
	if !holds {
		return value
	}
	if Name(name) {
		end := jsontoken.End(text, value)
		m.spans = append(m.spans, span{value, end})
		return end
	}
	switch {
	case text[value] == '"' && isNameMember(name):
		if end := jsontoken.StringEnd(text, value); pairName(unquote(text[value:end])) {
			f.secret = true
		}
	case isValueMember(name):
		if f.secret {
			end := jsontoken.End(text, value)
			m.spans = append(m.spans, span{value, end})
			return end
		}
		f.several = f.several || f.value.from > 0
		f.value = span{value, 0}
		if f.waits = text[value] != '"'; !f.waits {
			f.value.to = jsontoken.StringEnd(text, value)
		}
	}
	return value
}

// pairName reports whether the name of a pair is a secret's. Longer texts are titles.
func pairName(name string) bool {
	return len(name) <= 64 && strings.Count(name, " ") < 3 && Name(name)
}

// isNameMember reports whether a member of the name says what another one holds.
func isNameMember(member string) bool {
	switch strings.ToLower(member) {
	case "name", "key", "header", "field", "param", "parameter", "property", "attribute", "variable", "label", "k", "header_name", "headername":
		return true
	}
	return false
}

// isValueMember reports whether a member of the name holds what another one names.
func isValueMember(member string) bool {
	switch strings.ToLower(member) {
	case "value", "val", "content", "values", "data", "text", "v", "header_value", "headervalue", "string_value", "stringvalue", "default":
		return true
	}
	return false
}

func unquote(quoted string) string {
	s := quoted[1 : len(quoted)-1]
	if strings.IndexByte(s, '\\') >= 0 {
		return gjson.Parse(quoted).Str
	}
	return s
}

// append appends the text, masked.
func (m *masker) append(dst []byte) []byte {
	text := m.text
	kept, next, until := 0, 0, 0
	for i := 0; i < len(text); {
		n := strings.IndexByte(text[i:], '"')
		if n < 0 {
			break
		}
		i += n
		for next < len(m.spans) && m.spans[next].from <= i {
			until = max(until, m.spans[next].to)
			next++
		}
		end := jsontoken.StringEnd(text, i)
		after := jsontoken.SkipSpace(text, end)
		name := after < len(text) && text[after] == ':'
		if i < until && !name {
			dst = append(dst, text[kept:i]...)
			dst = append(append(append(dst, '"'), m.mark...), '"')
			kept, i = end, end
			continue
		}
		if shown, changed := m.masked(text[i:end], name); changed {
			dst = append(dst, text[kept:i]...)
			dst = append(dst, shown...)
			kept = end
		}
		i = end
	}
	return append(dst, text[kept:]...)
}

// masked is a string in quotes that has no telling name, masked.
func (m *masker) masked(quoted string, name bool) (shown []byte, changed bool) {
	if len(quoted) < 8 {
		return nil, false
	}
	s := unquote(quoted)
	plain := len(s) == len(quoted)-2
	out := s
	switch {
	case !name && mayBeJSON(s):
		if m.level == maxEmbeddedDepth {
			out = m.mark
			break
		}
		if inner := []byte(s); json.Valid(inner) {
			if masked := appendMasked(nil, inner, m.mark, m.level+1); !bytes.Equal(masked, inner) {
				out = string(masked)
			}
			break
		}
		out = Text(s, m.mark)
	case LooksLikeURI(s):
		out = URI(s, m.mark)
	default:
		out = Text(s, m.mark)
	}
	if out == s {
		return nil, false
	}
	if plain && strings.IndexByte(out, '"') < 0 {
		return append(append(append(make([]byte, 0, len(out)+2), '"'), out...), '"'), true
	}
	shown, err := jsontext.AppendQuote(nil, out)
	if err != nil { // not UTF-8, which unquote does not give
		return append(append(append(shown[:0], '"'), m.mark...), '"'), true
	}
	return shown, true
}

// mayBeJSON reports whether s may be a JSON object or array.
func mayBeJSON(s string) bool {
	s = strings.Trim(s, " \t\r\n")
	return len(s) > 4 && (s[0] == '{' && s[len(s)-1] == '}' || s[0] == '[' && s[len(s)-1] == ']') && strings.IndexByte(s, '"') >= 0
}
