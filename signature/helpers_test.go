package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// hexMAC is the scheme written down a second time, without its rules of form.
func hexMAC(key, signed string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(signed))
	return hex.EncodeToString(m.Sum(nil))
}
