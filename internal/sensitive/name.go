// Package sensitive recognises credentials and personal card data by their
// names and by their form, and masks them. Logs and responses use the same
// rules. The package knows text and JSON, and nothing of where they come from.
package sensitive

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/osa-edge/osa-gateway/internal/jsontoken"
)

// maxNameLength is how many bytes of a name are examined. Of a longer name the
// end is examined, because it says what the value is.
const maxNameLength = 128

// Name reports whether a value with this name is a secret or personal card
// data: `api_key`, `X-Api-Key`, `clientSecret`, `APIKEY`, `connect.sid`,
// `card[number]`.
//
// The name is split into words at separators and capitals. A word after the
// secret's own may say that the value only describes a secret: `token_count`,
// `signature_version`.
func Name(name string) bool {
	if len(name) < 3 {
		return false
	}
	if len(name) > maxCachedName {
		return isSecretName(name)
	}
	slot := &nameCache[maphash.String(seed, name)%uint64(len(nameCache))]
	if k := slot.Load(); k != nil && k.name == name {
		return k.secret
	}
	k := &cachedName{strings.Clone(name), isSecretName(name)}
	slot.Store(k)
	return k.secret
}

// A cache of results, because the same names occur again and again. Of two
// names with the same slot, the later one is kept.
var (
	nameCache [2048]atomic.Pointer[cachedName]
	seed      = maphash.MakeSeed()
)

const maxCachedName = 48

type cachedName struct {
	name   string
	secret bool
}

func isSecretName(name string) bool {
	name = nameEnd(name)
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			name = nameEnd(plainName(name))
			break
		}
	}
	var w words
	w.split(name, true)
	if w.isSecret() {
		return true
	}
	if !w.capitals || w.n < 2 {
		return false
	}
	w.split(name, false) // ToKeN
	return w.isSecret()
}

func nameEnd(name string) string { return name[max(0, len(name)-maxNameLength):] }

// plainName replaces letters of other widths and styles with plain ones and
// removes invisible characters.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(name))
}

const maxWords = maxNameLength/2 + 1

// words are the words of a name in lower case. text holds them one after the
// other.
type words struct {
	text     [maxNameLength]byte
	ends     [maxWords + 1]uint8 // ends[i] is the start of word i and the end of word i-1.
	n        int
	capitals bool // Some words are separated only by capitals.
}

func (w *words) word(i int) string { return w.span(i, i) }

// span returns the words from i to j as one.
func (w *words) span(i, j int) string { return jsontoken.View(w.text[w.ends[i]:w.ends[j+1]]) }

// split splits the name at everything that is not a letter or digit, between
// letters and digits, and before capitals.
func (w *words) split(name string, capitals bool) {
	w.n, w.capitals = 0, false
	end, start := 0, 0
	const other, lower, upper, digit = 0, 1, 2, 3
	kind := func(c byte) int {
		switch {
		case c >= 'a' && c <= 'z' || c >= utf8.RuneSelf:
			return lower
		case c >= 'A' && c <= 'Z':
			return upper
		case c >= '0' && c <= '9':
			return digit
		}
		return other
	}
	cut := func() {
		if end > start && w.n < maxWords-1 {
			w.n++
			w.ends[w.n] = uint8(end)
			start = end
		}
	}
	before := other
	for i := 0; i < len(name) && end < len(w.text); i++ {
		c, k := name[i], kind(name[i])
		switch {
		case k == other, k == digit && before != digit, before == digit && k != digit:
			cut()
		case k == upper && capitals && (before == lower || before == upper && i+1 < len(name) && kind(name[i+1]) == lower):
			if end > start {
				w.capitals = true
			}
			cut()
		}
		before = k
		if k == other {
			continue
		}
		if k == upper {
			c += 'a' - 'A'
		}
		w.text[end] = c
		end++
	}
	if end > start {
		w.n++
		w.ends[w.n] = uint8(end)
	}
	// Trailing digits number things: token2.
	for w.n > 1 && w.text[w.ends[w.n-1]] >= '0' && w.text[w.ends[w.n-1]] <= '9' {
		w.n--
	}
}

// isSecret reports whether the words name a secret.
func (w *words) isSecret() bool {
	if w.n == 0 {
		return false
	}
	// Start at the end: the last words say what the value is.
	for j := w.n - 1; j >= 0; j-- {
		for i := j; i >= 0 && i > j-4; i-- {
			if !secretWords(w.span(i, j)) && (i != j || !endsSecret(w.word(i))) {
				continue
			}
			if j < w.n-1 && describesSecret(w.word(w.n-1)) {
				return false
			}
			return !w.isCounted(i, j)
		}
	}
	// Names without separators, or with unusual ones: x-apikey, ses-sion-id.
	return w.n > 1 && endsSecret(w.span(max(0, w.n-4), w.n-1)) && !w.isCounted(0, w.n-1)
}

// isCounted reports whether the words i to j are counted or asked for.
func (w *words) isCounted(i, j int) bool {
	first, last := w.word(0), w.word(j)
	if i > 0 && isPredicate(first) {
		return true
	}
	if !strings.HasSuffix(last, "tokens") {
		return false
	}
	if i > 0 && isUnitCount(w.word(i-1)) {
		return true
	}
	return last != "tokens" && isUnitCount(strings.TrimSuffix(last, "tokens"))
}
