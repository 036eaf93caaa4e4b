package signature

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MinSecretLength is the minimum number of characters of a secret.
const MinSecretLength = 32

// minDistinct is the minimum number of different characters of a secret. Of 25
// million random secrets of 32 hexadecimal digits one has fewer; of those with
// 64 digits none.
const minDistinct = 8

const hint = "; make one with `osa-gateway osa init` or `openssl rand -hex 32`"

// examples are parts of example secrets that people copy. They are long enough
// not to occur in a random secret.
var examples = []string{
	"your-", "your_", "yoursecret", "changeme", "change-me", "change_me", "changethis", "change-this",
	"replace-me", "replace_me", "replaceme", "placeholder", "example", "xxxxxx", "insert-", "some-secret",
	"my-secret", "mysecret", "supersecret", "super-secret", "secret-here", "secretkey", "secret-key", "secret_key",
	"webhook-secret", "webhook_secret", "hmac-secret", "shared-secret", "shared_secret", "auth-key", "auth_key",
	"test-secret", "-characters", "_characters", "character-", "password", "correcthorse", "lorem",
}

// CheckSecret returns an error for a secret that is missing, too short or not
// random. name is the operator's name for the secret, such as the environment
// variable. The error says how to fix it and never contains the value.
func CheckSecret(name, value string) error {
	lower := strings.ToLower(value)
	switch {
	case strings.TrimSpace(value) == "":
		return fmt.Errorf("%s is empty%s", name, hint)
	case !utf8.ValidString(value):
		return fmt.Errorf("%s is not text%s", name, hint)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("%s begins or ends with white space, which the sender would have to sign with too; remove it", name)
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s contains control characters or several lines; keep one secret in it%s", name, hint)
	case value[0] == '{' && value[len(value)-1] == '}', strings.HasPrefix(value, "${"), strings.HasPrefix(value, "$("):
		return fmt.Errorf("%s is an unresolved placeholder; check its spelling, such as {env.NAME} or {file./path}", name)
	case strings.ContainsAny(value, "<>"):
		return fmt.Errorf("%s is an example that stands for a secret%s", name, hint)
	}
	for _, p := range examples {
		if strings.Contains(lower, p) {
			return fmt.Errorf("%s is an example out of documentation%s", name, hint)
		}
	}
	if utf8.RuneCountInString(value) < MinSecretLength {
		return fmt.Errorf("%s is shorter than %d characters%s", name, MinSecretLength, hint)
	}
	if isPredictable(value) {
		return fmt.Errorf("%s repeats itself or follows a pattern%s", name, hint)
	}
	return nil
}

// isPredictable reports whether s has a pattern that random secrets do not
// have: few different characters, a repeated part, or a sequence.
func isPredictable(s string) bool {
	var seen [256]bool
	distinct, runs := 0, 0
	for i := range len(s) {
		if !seen[s[i]] {
			seen[s[i]] = true
			distinct++
		}
		if i > 0 && (s[i] == s[i-1]+1 || s[i] == s[i-1]-1) {
			runs++
		}
	}
	// s has period p if s, shifted by p, matches itself.
	repeats := false
	for p := 1; p <= len(s)/2 && !repeats; p++ {
		repeats = s[p:] == s[:len(s)-p]
	}
	return distinct < minDistinct || repeats || runs > len(s)/2
}
