package webhook

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/osa-edge/osa-gateway/internal/jsontoken"
)

// A body may be many megabytes long, and so may any string in it. These functions do not
// copy what they scan. gjson's own iteration does: it unescapes every string. The JSON is
// valid already.

// eachField calls fn with the fields of an object: the unescaped name and the token of the
// value.
func eachField(object string, fn func(name, value string)) {
	for i := 1; ; {
		// Only white space and a comma stand before a name.
		for object[i] != '"' {
			if object[i] == '}' {
				return
			}
			i++
		}
		end := jsontoken.End(object, i)
		name := object[i:end]
		for i = end; object[i] != ':'; i++ {
		}
		i = jsontoken.SkipSpace(object, i+1)
		end = jsontoken.End(object, i)
		if name, ok := shortString(name); ok {
			fn(name, object[i:end])
		}
		i = end
	}
}

// eachElement calls fn with the tokens of an array's elements until it returns
// false.
func eachElement(array string, fn func(value string) bool) {
	for i := 1; ; {
		for i = jsontoken.SkipSpace(array, i); array[i] == ','; {
			i = jsontoken.SkipSpace(array, i+1)
		}
		if array[i] == ']' {
			return
		}
		end := jsontoken.End(array, i)
		if !fn(array[i:end]) {
			return
		}
		i = end
	}
}

// longestName is longer than any name that is looked for, with every character escaped.
const longestName = 256

// shortString unescapes the token of a string, unless it is a long one.
func shortString(token string) (string, bool) {
	s := token[1 : len(token)-1]
	if len(s) > longestName {
		return "", false
	}
	if strings.IndexByte(s, '\\') >= 0 {
		s = gjson.Parse(token).Str
	}
	return s, true
}

// prefix returns as much of the token of a string as gives at least limit bytes when it is
// unescaped, and more than limit if the string is longer.
func prefix(token string, limit int) string {
	most := 6*limit + 12 // an escape takes six bytes at most, and a pair of them 12
	if len(token) <= most+2 {
		return token
	}
	i := 1
	for i <= most {
		switch {
		case token[i] != '\\':
			i++
		case token[i+1] == 'u':
			i += 6
		default:
			i += 2
		}
	}
	if i >= len(token)-1 {
		return token
	}
	return token[:i] + `"`
}
