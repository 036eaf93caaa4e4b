package guard

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// forwardedHeaders are the headers in which proxies name the client, in canonical form.
var forwardedHeaders = [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip"}

// warnEvery is the least time between two warnings.
const warnEvery = time.Hour

// warned is the time of the last warning of this process, in Unix seconds.
var warned atomic.Int64

// noteForwarded warns of a request that names another client than its peer, if the peer is
// not a trusted proxy. Limits by address and matchers such as client_ip then see the
// address of the proxy for all of its clients. The request may also come from a client
// that sets the header itself, so it is only logged.
func (g *Guard) noteForwarded(r *http.Request) {
	for _, name := range forwardedHeaders {
		if len(r.Header[name]) == 0 {
			continue
		}
		if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
			return
		}
		now, last := time.Now().Unix(), warned.Load()
		if now-last < int64(warnEvery/time.Second) || !warned.CompareAndSwap(last, now) {
			return
		}
		peer, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			peer = r.RemoteAddr
		}
		g.log.Warn("a request names another client than its peer, which is no trusted proxy: if it is a proxy of yours, add it to trusted_proxies (the option servers), or all of its clients are taken for one",
			zap.String("header", name), zap.String("peer", peer), zap.Duration("again_after", warnEvery))
		return
	}
}
