package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
	"time"
)

// Secret is a key that a sender shares with us, and from when to when it holds.
// It is safe for concurrent use and must not be copied.
type Secret struct {
	id                  string
	notBefore, notAfter time.Time
	states              sync.Pool // of *macState
}

// macState is a keyed HMAC and the room for its sum. States are reused, because
// keying an HMAC costs more than the HMAC of a small body.
type macState struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// NewSecret returns a secret that holds from notBefore until notAfter, both
// included; a zero time is no limit. The id names it in logs and metrics.
func NewSecret(id string, key []byte, notBefore, notAfter time.Time) *Secret {
	s := &Secret{id: id, notBefore: notBefore, notAfter: notAfter}
	key = append([]byte(nil), key...)
	s.states.New = func() any { return &macState{mac: hmac.New(sha256.New, key)} }
	return s
}

// ID names the secret without revealing it.
func (s *Secret) ID() string { return s.id }

// Active reports whether the secret holds at that time.
func (s *Secret) Active(now time.Time) bool {
	return !now.Before(s.notBefore) && (s.notAfter.IsZero() || !now.After(s.notAfter))
}

// String keeps the key out of logs and errors.
func (s *Secret) String() string { return "secret " + s.id }

// GoString keeps the key out of %#v.
func (s *Secret) GoString() string { return s.String() }

// sha256 writes the HMAC-SHA256 of `prefix.body` into dst.
func (s *Secret) sha256(dst *[sha256.Size]byte, prefix string, body []byte) {
	st := s.states.Get().(*macState)
	st.mac.Reset()
	// The prefix goes through the state's own room: a slice made here would
	// escape through the hash.Hash interface.
	for len(prefix) > 0 {
		n := copy(st.sum[:], prefix)
		st.mac.Write(st.sum[:n])
		prefix = prefix[n:]
	}
	st.sum[0] = '.'
	st.mac.Write(st.sum[:1])
	st.mac.Write(body)
	copy(dst[:], st.mac.Sum(st.sum[:0]))
	clear(st.sum[:])
	s.states.Put(st)
}
