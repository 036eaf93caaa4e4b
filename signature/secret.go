package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
	"time"
)

// Secret is a key that is shared with a sender, and the time during which it is
// valid. It is safe for concurrent use and must not be copied.
type Secret struct {
	id                  string
	notBefore, notAfter time.Time
	states              sync.Pool // of *macState
}

// macState is a keyed HMAC with a buffer for its sum. States are reused,
// because keying an HMAC costs more than computing it over a small body.
type macState struct {
	mac hash.Hash
	buf [sha256.Size]byte
}

// NewSecret returns a secret that is valid from notBefore until notAfter,
// including both. A zero time is no limit. id names the secret in logs and
// metrics.
func NewSecret(id string, key []byte, notBefore, notAfter time.Time) *Secret {
	s := &Secret{id: id, notBefore: notBefore, notAfter: notAfter}
	key = append([]byte(nil), key...)
	s.states.New = func() any { return &macState{mac: hmac.New(sha256.New, key)} }
	return s
}

// ID returns the name of the secret.
func (s *Secret) ID() string { return s.id }

// Active reports whether the secret is valid at that time.
func (s *Secret) Active(now time.Time) bool {
	return !now.Before(s.notBefore) && (s.notAfter.IsZero() || !now.After(s.notAfter))
}

// String returns a text without the key.
func (s *Secret) String() string { return "secret " + s.id }

// GoString returns a text without the key.
func (s *Secret) GoString() string { return s.String() }

// hmacSHA256 writes the HMAC-SHA256 of the prefixes followed by the body into sum. What
// stands before the body, and in which form, is the scheme's affair. It allocates
// nothing.
func (s *Secret) hmacSHA256(sum *[sha256.Size]byte, body []byte, prefixes ...string) {
	st := s.states.Get().(*macState)
	st.mac.Reset()
	for _, prefix := range prefixes {
		// Copied in parts: a slice made here would escape through hash.Hash.
		for len(prefix) > 0 {
			n := copy(st.buf[:], prefix)
			st.mac.Write(st.buf[:n])
			prefix = prefix[n:]
		}
	}
	st.mac.Write(body)
	copy(sum[:], st.mac.Sum(st.buf[:0]))
	clear(st.buf[:])
	s.states.Put(st)
}
