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

// AppendMasked appends the JSON text body and replaces every sensitive string
// with mark: all strings in a member with a secret's name, the value of a name
// and value pair (`{"name":"Authorization","value":"…"}`), and in all other
// strings what Text and URI find. Strings that hold JSON are searched as well.
// Numbers, booleans, null and everything that is not sensitive stay byte for
// byte. Text that is not JSON becomes null, because a secret could be anywhere
// in it.
//
// It uses no recursion, and its time is linear in the length of body.
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

// maxEmbeddedDepth is how deep JSON in strings in JSON is searched. Anything
// deeper is replaced completely.
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
	spans      []span // Values in which every string is masked, in order.
}

// frame is an open object or array.
type frame struct {
	from    int
	object  bool
	inner   bool // An array in an array.
	past    bool // The first element was seen.
	second  bool // The second element is next, and the first one names a secret.
	secret  bool // A member, or the first element, names a secret.
	several bool // Several values came before the name.
	waits   bool // A value came before the name and is kept in value.
	value   span // The value that came before the name.
}

// find finds the values of secret members and pairs. In valid JSON a string
// before a colon is a name.
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

// member handles a member of an object and returns where to continue: at its
// value, or after it if the value is masked.
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

// pairName reports whether the name of a pair is a secret's. Longer texts are
// titles and no names.
func pairName(name string) bool {
	return len(name) <= 64 && strings.Count(name, " ") < 3 && Name(name)
}

// isNameMember reports whether a member with this name holds the name of a
// pair.
func isNameMember(member string) bool {
	switch strings.ToLower(member) {
	case "name", "key", "header", "field", "param", "parameter", "property", "attribute", "variable", "label", "k", "header_name", "headername":
		return true
	}
	return false
}

// isValueMember reports whether a member with this name holds the value of a
// pair.
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

// masked returns a string in quotes without a telling name, masked.
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
	if err != nil { // The string is not UTF-8, which unquote does not return.
		return append(append(append(shown[:0], '"'), m.mark...), '"'), true
	}
	return shown, true
}

// mayBeJSON reports whether s may be a JSON object or array.
func mayBeJSON(s string) bool {
	s = strings.Trim(s, " \t\r\n")
	return len(s) > 4 && (s[0] == '{' && s[len(s)-1] == '}' || s[0] == '[' && s[len(s)-1] == ']') && strings.IndexByte(s, '"') >= 0
}
