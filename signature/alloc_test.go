//go:build !race

package signature_test

import (
	"net/http"
	"testing"

	"github.com/osa-edge/osa-gateway/signature"
)

// Not under the race detector, which empties pools at random.
func TestVerifyAllocatesNothing(t *testing.T) {
	k := key()
	secrets := []*signature.Secret{secret("old", key()), secret("a", k)}
	body := make([]byte, 1024)
	h := http.Header{"X-Osa-Signature": {signature.Sign(k, body, now)}}
	scheme := signature.NewOSA(0)
	if n := testing.AllocsPerRun(100, func() { _, _ = scheme.Verify(h, body, secrets, now) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}
