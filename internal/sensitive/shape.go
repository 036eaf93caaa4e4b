package sensitive

import (
	"encoding/base64"
	"slices"
	"strings"
)

// shapes are the prefixes of keys of well-known services, with the minimum
// length of the rest.
var shapes = [...]struct {
	begin string
	least int
}{
	{"ghp_", 16}, {"gho_", 16}, {"ghu_", 16}, {"ghs_", 16}, {"ghr_", 16}, {"github_pat_", 16}, {"glpat-", 16}, {"GOCSPX-", 16},
	{"xoxa-", 8}, {"xoxb-", 8}, {"xoxe-", 8}, {"xoxe.", 8}, {"xoxo-", 8}, {"xoxp-", 8}, {"xoxr-", 8}, {"xoxs-", 8}, {"xapp-", 8},
	{"AIza", 30}, {"sk-", 20}, {"sk_live_", 8}, {"sk_test_", 8}, {"rk_live_", 8}, {"rk_test_", 8}, {"pk_live_", 8}, {"SG.", 20},
	{"whsec_", 8}, {"npm_", 30}, {"pypi-", 30}, {"dop_v1_", 30}, {"doo_v1_", 30}, {"hf_", 30}, {"shpat_", 16}, {"shpss_", 16},
	{"sq0atp-", 16}, {"dckr_pat_", 16}, {"hvs.", 16}, {"AGE-SECRET-KEY-", 16},
}

// ownKey is the default prefix of the gateway's own keys.
const ownKey = "opal_prod_"

// ownKeyEnd returns the end of the gateway's own key at i, or 0.
func ownKeyEnd(s string, i int) int {
	if i < 0 || len(s)-i < len(ownKey)+4 || !strings.EqualFold(s[i:i+len(ownKey)], ownKey) {
		return 0
	}
	if end := tokenEnd(s, i+len(ownKey)); end > i+len(ownKey)+3 {
		return end
	}
	return 0
}

// shape returns the end of the credential that starts with the word at i, or 0.
func shape(s string, i int) int {
	rest := s[i:]
	switch rest[0] {
	case 'A':
		if end := awsKey(rest); end > 0 {
			return i + end
		}
	case 'h':
		const hook = "hooks.slack.com/"
		if strings.HasPrefix(rest, hook) {
			if end := indexAny(s, i, " \t\r\n\"'<>\\,"); end > i+len(hook)+8 {
				return end
			}
		}
	}
	if len(rest) < 10 {
		return 0
	}
	for k := range shapes {
		begin := shapes[k].begin
		if begin[0] != rest[0] || begin[1] != rest[1] || !strings.HasPrefix(rest, begin) {
			continue
		}
		if end := tokenEnd(s, i+len(begin)); end >= i+len(begin)+shapes[k].least {
			return end
		}
	}
	return 0
}

func tokenEnd(s string, i int) int {
	for i < len(s) && tokenByte(s[i]) {
		i++
	}
	// A full stop after the token ends a sentence.
	for i > 0 && s[i-1] == '.' {
		i--
	}
	return i
}

// jwt returns the end of a token of three or more parts (RFC 7519).
func (c *scanner) jwt(i int) int {
	s := c.s
	if i < 0 || i < c.noJWT || !strings.HasPrefix(s[i:], "eyJ") {
		return 0
	}
	end := i
	dots := 0
	for end < len(s) && (wordByte(s[end]) || s[end] == '-' || s[end] == '.' || s[end] == '=' || s[end] == '%') {
		if s[end] == '.' {
			dots++
		}
		end++
	}
	if dots < 2 {
		c.noJWT = end
		return 0
	}
	return end
}

var awsPrefixes = []string{"AKIA", "ASIA", "ABIA", "ACCA"}

// awsKey returns the length of the AWS access key id at the start of s.
func awsKey(s string) int {
	const length = 20
	if len(s) < length || !slices.Contains(awsPrefixes, s[:4]) {
		return 0
	}
	for _, b := range []byte(s[:length]) {
		if (b < 'A' || b > 'Z') && (b < '0' || b > '9') {
			return 0
		}
	}
	if len(s) > length && wordByte(s[length]) {
		return 0
	}
	return length
}

// schemeWord reports whether v is an HTTP authentication scheme.
func schemeWord(v string) bool {
	if len(v) > 16 {
		return false
	}
	switch strings.ToLower(v) {
	case "bearer", "basic", "digest", "token", "apikey", "api-key", "negotiate", "ntlm", "hmac", "dpop", "key", "aws4-hmac-sha256":
		return true
	}
	return false
}

// scheme returns the credential after `Bearer` or `Basic` at i.
func scheme(s string, i int) (from, end int) {
	if s[i]|0x20 != 'b' {
		return 0, 0
	}
	rest := s[i:]
	basic := len(rest) > 6 && strings.EqualFold(rest[:5], "basic")
	from = i + 5
	if !basic {
		if len(rest) < 8 || !strings.EqualFold(rest[:6], "bearer") {
			return 0, 0
		}
		from++
	}
	blanks := from
	for from < len(s) && (s[from] == ' ' || s[from] == '+' || s[from] == '\t' || strings.HasPrefix(s[from:], "%20")) {
		if s[from] == '%' {
			from += 2
		}
		from++
	}
	if from == blanks {
		return 0, 0
	}
	end = from
	for end < len(s) && (tokenByte(s[end]) || s[end] == '/' || s[end] == ':') {
		end++
	}
	v := s[from:end]
	if v == "" {
		return 0, 0
	}
	if len(v) > 1<<10 {
		return from, end
	}
	alone := i == 0 && end == len(s)
	if basic {
		plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
		if err != nil || strings.IndexByte(string(plain), ':') < 0 {
			return 0, 0
		}
		return from, end
	}
	if !alone && !looksSecret(v) && !opaque(v) {
		return 0, 0
	}
	return from, end
}

// opaque reports whether v contains characters that words of a sentence do not.
func opaque(v string) bool {
	v = strings.TrimRight(v, ".:")
	for i := range len(v) {
		b := v[i]
		if (b < 'a' || b > 'z') && (i > 0 || b < 'A' || b > 'Z') {
			return true
		}
	}
	return false
}

// number returns the end of the digits at i, and whether they are a payment
// card number (ISO/IEC 7812): a length and a prefix that are in use, a valid
// check digit, and no grouping or the one that is printed on cards.
func number(s string, i int) (end int, card bool) {
	var digits [19]byte
	var groups [8]int
	n, g := 0, 0
	for end = i; end < len(s); end++ {
		b := s[end]
		if b >= '0' && b <= '9' {
			if n == len(digits) {
				for end < len(s) && s[end] >= '0' && s[end] <= '9' {
					end++
				}
				return end, false
			}
			digits[n] = b - '0'
			n++
			groups[g]++
			continue
		}
		if (b == ' ' || b == '-') && g < 4 && groups[g] >= 4 && groups[g] <= 6 && end+1 < len(s) && s[end+1] >= '0' && s[end+1] <= '9' {
			g++
			continue
		}
		break
	}
	if end < len(s) && wordByte(s[end]) || n < 13 {
		return firstGroup(s, i), false
	}
	if g > 0 && !printed(groups[:g+1]) || !issued(digits[:n]) || !luhn(digits[:n]) {
		return firstGroup(s, i), false
	}
	return end, true
}

func firstGroup(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

func printed(groups []int) bool {
	switch len(groups) {
	case 3:
		return groups[0] == 4 && groups[1] == 6 && (groups[2] == 5 || groups[2] == 4)
	case 4:
		return groups[0] == 4 && groups[1] == 4 && groups[2] == 4 && groups[3] == 4
	case 5:
		return groups[0] == 4 && groups[1] == 4 && groups[2] == 4 && groups[3] == 4 && groups[4] == 3
	}
	return false
}

// issued reports whether a card network uses such numbers.
func issued(d []byte) bool {
	two := int(d[0])*10 + int(d[1])
	four := two*100 + int(d[2])*10 + int(d[3])
	switch len(d) {
	case 13:
		return d[0] == 4
	case 14:
		return two == 36 || two == 38 || two == 39 || four/10 >= 300 && four/10 <= 305
	case 15:
		return two == 34 || two == 37
	case 16:
		return d[0] == 4 || two >= 51 && two <= 55 || four >= 2221 && four <= 2720 || two == 65 || two == 35 || four == 6011 || four/10 >= 644 && four/10 <= 649 || two == 62
	case 19:
		return d[0] == 4 || two == 62 || two == 60
	}
	return false
}

func luhn(d []byte) bool {
	sum := 0
	for i, v := range d {
		n := int(v)
		if (len(d)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}
