package sensitive

import (
	"strings"
)

// pair handles the value after the separator at i by the name before it, and
// returns where to continue.
func (c *scanner) pair(i int, assigned bool) int {
	s := c.s
	name, quoted := c.nameBefore(i)
	if !c.secretName(name) {
		return c.value(i + 1)
	}
	from := i + 1
	for from < len(s) && (s[from] == '=' || s[from] == '>') {
		from++
	}
	for n := 0; n < 4 && from < len(s) && s[from] == ' '; n++ {
		from++
	}
	if from == len(s) {
		return from
	}
	// "token":"…", token='…', \"token\":\"…\"
	open := from
	for open < len(s) && open-from < 16 && s[open] == '\\' {
		open++
	}
	if !c.uri && open < len(s) && (s[open] == '"' || s[open] == '\'') {
		end := closing(s, open+1, s[open], s[from:open])
		return max(c.hide(open+1, end), i+1)
	}
	if s[from] == '[' && !c.uri { // Authorization:[Bearer abc]
		end := indexAny(s, from+1, "]")
		if inner := from + 1; inner < len(s) && s[inner] == '"' {
			return i + 1 // A JSON list. Its strings are examined on their own.
		}
		return c.hide(from+1, end)
	}
	end := c.endOfValue(from, assigned)
	if !assigned && (quoted || !c.uri) {
		v := s[from:end]
		cookies := takesWholeLine(name) && strings.IndexByte(v[:min(len(v), 64)], '=') > 0
		if literal(v) || !quoted && !cookies && !looksSecret(v) && !schemeWord(v) {
			return i + 1
		}
	}
	if !c.uri && placeholder(s[from:end]) {
		return end
	}
	if schemeWord(s[from:end]) || takesWholeLine(name) {
		end = lineEnd(s, from, c.uri)
	}
	end = c.hide(from, end)
	// ?token=ab;cd: a part without a name belongs to the previous value.
	for c.uri && end < len(s) && s[end] == ';' {
		next := indexAny(s, end+1, ";&=#?/")
		if next < len(s) && s[next] == '=' {
			break
		}
		end = c.hide(end+1, next)
	}
	return end
}

// value handles the value of a parameter without a secret's name.
func (c *scanner) value(from int) int {
	if !c.uri || from < c.decodedUntil {
		return from
	}
	s := c.s
	end, percent := from, false
	for ; end < len(s) && (percent || end-from < maxWholeComponent); end++ {
		if s[end] == '&' || s[end] == ';' {
			break
		}
		percent = percent || s[end] == '%'
	}
	if percent && c.encoded(from, end) {
		return c.hide(from, end)
	}
	return c.component(from)
}

// nameBefore returns the name that ends before i.
func (c *scanner) nameBefore(i int) (name string, quoted bool) {
	s := c.s
	end := i
	for end > 0 && i-end < 8 && (s[end-1] == ' ' || s[end-1] == '"' || s[end-1] == '\'' || s[end-1] == '\\') {
		end--
		quoted = quoted || s[end] != ' '
	}
	from := end
	for from > 0 && end-from < maxNameLength && !c.ends(s[from-1]) {
		from--
	}
	return s[from:end], quoted
}

// ends reports whether a name can start after b.
func (c *scanner) ends(b byte) bool {
	switch b {
	case '&', ';', '?', '#', '/', '=', ':':
		return true
	}
	if c.uri {
		return false
	}
	switch b {
	case ' ', '\t', '\n', '\r', '"', '\'', '`', ',', '<', '>', '(', ')', '{', '}', '|', '\\', '@':
		return true
	}
	return false
}

func (c *scanner) secretName(name string) bool {
	if name == "" {
		return false
	}
	if strings.IndexByte(name, '%') >= 0 || c.uri && strings.IndexByte(name, '+') >= 0 {
		plain, settled := unescape(name)
		if !settled {
			return true
		}
		name = plain
	}
	if !c.uri {
		return Name(name)
	}
	// Some short names are secrets in queries only.
	switch strings.ToLower(name) {
	case "key", "code", "pw", "sig", "pat":
		return true
	}
	return Name(name)
}

// endOfValue returns the end of the value at i.
func (c *scanner) endOfValue(i int, assigned bool) int {
	stops, seen := "&; \t\r\n", &c.valueEnd[0]
	if !c.uri {
		stops = "&; \t\r\n\"'`<>)}]\\,"
		if assigned {
			stops, seen = stops[:len(stops)-1], &c.valueEnd[1]
		}
	}
	if i > *seen {
		*seen = indexAny(c.s, i, stops)
	}
	return *seen
}

// closing returns the end of a quoted value: the quote with the same number of
// backslashes before it as the opening one.
func closing(s string, i int, quote byte, backslashes string) int {
	for j := i; j < len(s); j++ {
		if s[j] != quote {
			continue
		}
		back := j
		for back > i && s[back-1] == '\\' {
			back--
		}
		if j-back == len(backslashes) || len(backslashes) == 0 && (j-back)%2 == 0 {
			return back
		}
	}
	return len(s)
}

// lineEnd returns the end of a header's value.
func lineEnd(s string, i int, uri bool) int {
	stops := "\r\n\"'`]"
	if uri {
		stops = "&\r\n\""
	}
	return indexAny(s, i, stops)
}

// takesWholeLine reports whether the value of this name extends to the end of
// the line.
func takesWholeLine(name string) bool {
	if len(name) > 32 {
		return false
	}
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "authorization") || strings.HasSuffix(name, "cookie")
}

// literal reports whether v is a number, a boolean or null.
func literal(v string) bool {
	switch v {
	case "true", "false", "null", "nil", "":
		return true
	}
	return len(v) < 10 && strings.Trim(v, "-+.0123456789eE") == ""
}

// placeholder reports whether v only refers to a value: {env.X}, ${X}.
func placeholder(v string) bool {
	return strings.HasPrefix(v, "{env.") || strings.HasPrefix(v, "{file.") || strings.HasPrefix(v, "{$") || strings.HasPrefix(v, "${")
}

// authority masks the user information of a URL whose authority starts at i.
func (c *scanner) authority(i int) int {
	s := c.s
	end := i
	for end < len(s) && !strings.ContainsRune("/?#\"'<> \t\r\n\\", rune(s[end])) {
		end++
	}
	user := strings.LastIndexByte(s[i:end], '@')
	if user < 0 {
		return i
	}
	if v := s[i : i+user]; strings.IndexByte(v, ':') < 0 && !looksSecret(v) {
		return i
	}
	return c.hide(i, i+user)
}

// user masks user:password before the @ at i in a path.
func (c *scanner) user(i int) {
	from := i
	pair := false
	for from > c.done && i-from < maxNameLength && c.s[from-1] != '/' && c.s[from-1] != '@' {
		from--
		pair = pair || c.s[from] == ':' || strings.HasPrefix(c.s[from:], "%3")
	}
	if pair {
		c.hide(from, i)
	}
}

// pem masks a private key that starts at i.
func (c *scanner) pem(i int) int {
	s := c.s
	head := s[i:min(len(s), i+64)]
	if !strings.Contains(head, "PRIVATE KEY") {
		return i + len("-----BEGIN ")
	}
	end := strings.Index(s[i+1:], "-----END ")
	if end < 0 {
		return c.hide(i, len(s))
	}
	end += i + 1 + len("-----END ")
	if n := strings.Index(s[end:], "-----"); n >= 0 && n < 64 {
		end += n + len("-----")
	}
	return c.hide(i, end)
}
