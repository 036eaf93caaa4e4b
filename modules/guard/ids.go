package guard

import (
	"math/rand/v2"
	"net/http"
)

// As http.Header keys them.
const (
	keyRequestID     = "X-Request-Id"
	keyCorrelationID = "X-Correlation-Id"
)

const maxID = 128

// idBytes are what an id of a client may consist of.
var idBytes = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+=@-" {
		t[c] = true
	}
	return t
}()

func wellFormed(values []string) bool {
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxID {
		return false
	}
	for i := range len(values[0]) {
		if !idBytes[values[0][i]] {
			return false
		}
	}
	return true
}

// identify echoes the client's request id or makes one, and puts it where
// upstreams will see it too.
func identify(response, request http.Header) string {
	values := request[keyRequestID]
	if !wellFormed(values) {
		values = []string{newID("req_")}
		request[keyRequestID] = values
	}
	response[keyRequestID] = values
	return values[0]
}

// correlate echoes the client's correlation id. One that is not well-formed goes
// no further.
func correlate(response, request http.Header) string {
	values, sent := request[keyCorrelationID]
	if !sent {
		return ""
	}
	if !wellFormed(values) {
		delete(request, keyCorrelationID)
		return ""
	}
	response[keyCorrelationID] = values
	return values[0]
}

// newID appends 128 random bits to the prefix. math/rand/v2 is seeded by the
// system and will do: ids have to be unique, not secret.
func newID(prefix string) string {
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [32]byte
	n := copy(b[:], prefix)
	hi, lo := rand.Uint64(), rand.Uint64()
	for range 13 {
		b[n], b[n+1] = digits[hi&31], digits[lo&31]
		hi, lo, n = hi>>5, lo>>5, n+2
	}
	return string(b[:n])
}
