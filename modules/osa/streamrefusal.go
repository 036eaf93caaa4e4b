package osa

import (
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/httperror"
)

// Why a stream is refused for now: the reason of its stream_end.
const (
	StreamUnavailable = "unavailable"
	StreamTooMany     = "too_many_streams"
	StreamRateLimited = "rate_limited"
)

const typeEventStream = "text/event-stream"

// RefuseStream tells a client that understands nothing but an event stream that
// it is refused for now: a browser's EventSource gives up for good on any status
// but 200 (WHATWG HTML §9.2.3), and comes back by itself after a stream that ended.
// It answers with 200, `retry` and a stream_end, and returns true. It returns
// false, and has done nothing, for every other client and for every problem that
// is neither a 429 nor a 503. reason "" follows from the status.
func RefuseStream(w http.ResponseWriter, r *http.Request, p *httperror.Error, reason string) bool {
	switch {
	case p.Status != http.StatusTooManyRequests && p.Status != http.StatusServiceUnavailable, !wantsStreamOnly(r):
		return false
	case reason != "":
	case p.Status == http.StatusTooManyRequests:
		reason = StreamRateLimited
	default:
		reason = StreamUnavailable
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		// The access log has the status that was sent.
		extra.Add(zap.Int("refused_with", p.Status))
		extra.Add(zap.String("refused", reason))
	}
	body := hub.AppendRefusal(nil, reason, streamWait(p))
	h := w.Header()
	SetStreamHeader(h)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // a client that has left needs no answer
	return true
}

// SetStreamHeader sets what every event stream is sent with.
func SetStreamHeader(h http.Header) {
	h.Set("Content-Type", typeEventStream)
	// no-transform keeps `encode` and proxies from compressing, and so holding
	// back, what must go out at once.
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Del("Content-Length")
}

// streamWait is the problem's Retry-After and up to half of it again, so that
// those who are refused together do not come back together.
func streamWait(p *httperror.Error) time.Duration {
	wait := time.Second
	if seconds, err := strconv.Atoi(p.Header.Get("Retry-After")); err == nil && seconds > 0 {
		wait = time.Duration(seconds) * time.Second
	}
	return wait + rand.N(wait/2) //nolint:gosec // nothing secret
}

// wantsStreamOnly reports whether the request is a GET whose Accept names
// text/event-stream and nothing else, as an EventSource's does.
func wantsStreamOnly(r *http.Request) bool {
	accept := r.Header["Accept"]
	if r.Method != http.MethodGet || len(accept) != 1 || strings.Contains(accept[0], ",") {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(accept[0])
	return err == nil && mediaType == typeEventStream
}
