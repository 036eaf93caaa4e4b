package guard

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// forwardedHeaders are how proxies say whom they ask for, in canonical form.
var forwardedHeaders = [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip"}

// warnEvery is how often the log tells of proxies that are not trusted, at most.
const warnEvery = time.Hour

// warned is when it did last, in Unix seconds, in this process.
var warned atomic.Int64

// noteForwarded warns of a proxy that names its client and is not trusted: everything
// that goes by the client's address (shares of bodies and streams, matchers such as
// client_ip) then takes all of its clients for one, and for one where the proxy is.
// It may also be a client that only says so, which is why nothing else comes of it.
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
