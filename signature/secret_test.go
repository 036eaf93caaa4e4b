package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHMACOfSchemes: a scheme decides what is signed. Each of these forms is that of a
// scheme in use.
func TestHMACOfSchemes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(t, "key")
		body := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "body")
		secret := NewSecret("s", key, time.Time{}, time.Time{})
		for _, prefixes := range [][]string{
			nil,                               // github, shopify
			{"1790000000", "."},               // osa, stripe
			{"v0:", "1790000000", ":"},        // slack
			{"msg_1", ".", "1790000000", "."}, // standard_webhooks
			{"1790000000000"},                 // osa_legacy
			{rapid.String().Draw(t, "any")},
		} {
			var got [sha256.Size]byte
			secret.hmacSHA256(&got, body, prefixes...)
			want := hmac.New(sha256.New, key)
			want.Write([]byte(strings.Join(prefixes, "") + string(body)))
			if string(got[:]) != string(want.Sum(nil)) {
				t.Fatalf("%q", prefixes)
			}
		}
	})
}
