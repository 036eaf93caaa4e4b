package requestbody

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// firstBuffer is the largest first buffer of a body. A large Content-Length alone does not
// get a larger one.
const firstBuffer = 4 << 10

// buffers are reused by bodies while they grow.
var buffers admission.Buffers

// sender returns whom the body counts for: the caller, or the client's address if the caller
// is not authenticated.
func sender(r *http.Request) (admission.Class, admission.Key) {
	if p := osa.PrincipalOf(r); p != nil && !p.Anonymous() {
		return admission.Authenticated, admission.Key{Method: p.Method, Name: p.ID}
	}
	if addr, err := netip.ParseAddr(osa.ClientIP(r)); err == nil {
		return admission.Unverified, admission.AddrKey(addr)
	}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return admission.Unverified, admission.AddrKey(addr.Addr())
	}
	return admission.Unverified, admission.Key{}
}

// grow reads the whole body. With a Content-Length, the last buffer has that size and is
// made once a third of the body has arrived, or a quarter of a small one. Without, the
// buffer doubles.
func (b *Body) grow(r *http.Request) ([]byte, error) {
	a, limit := &b.admission, b.limits.maxSize
	var buf []byte
	for {
		if len(buf) == cap(buf) && int64(len(buf)) < limit {
			size, whole := nextBuffer(int64(cap(buf)), r.ContentLength, limit)
			if err := a.Reserve(r.Context(), size, whole); err != nil {
				buffers.Put(buf)
				return nil, refused(err)
			}
			grown := append(buffers.Get(int(size)), buf...)
			buffers.Put(buf)
			if buf = grown; len(buf) > 0 {
				a.Shrink(size)
			}
		}
		into := buf[len(buf):cap(buf)]
		if len(into) == 0 {
			into = make([]byte, 1) // one byte more tells an end from too much
		}
		n, err := r.Body.Read(into)
		if int64(len(buf)+n) > limit {
			return nil, tooLarge(limit, nil)
		}
		buf = buf[:len(buf)+n]
		a.Received(n)
		switch {
		case int64(len(buf)) == r.ContentLength, err == io.EOF && r.ContentLength < 0:
			return buf, nil
		case err == io.EOF:
			return nil, unreadable(io.ErrUnexpectedEOF, limit)
		case err != nil:
			return nil, unreadable(err, limit)
		}
	}
}

// nextBuffer returns the size of the buffer that follows one of size have, and that of the
// last buffer as far as it is known.
func nextBuffer(have, announced, limit int64) (size, whole int64) {
	const middle = admission.FirstBuffer
	switch {
	case announced < 0:
		size = min(max(firstBuffer, 2*have), limit)
		return size, size
	case announced <= max(firstBuffer, 3*have) || have <= middle && announced <= 4*have:
		return announced, announced
	case have < middle:
		return min(max(firstBuffer, 4*have), middle), announced
	}
	return 2 * have, announced
}

const (
	// maxDiscard is how much of an unread body is read and discarded, so that the
	// connection can be used again.
	maxDiscard = 64 << 10
	// discardTimeout is how long that may take.
	discardTimeout = 250 * time.Millisecond
)

// discard reads and discards the body. It returns false if the body is large or has not
// arrived.
func (b *Body) discard() bool {
	if b.length > maxDiscard || b.w == nil || b.expects {
		return false
	}
	ctrl := http.NewResponseController(b.w)
	if ctrl.SetReadDeadline(time.Now().Add(discardTimeout)) != nil {
		return false
	}
	if _, err := io.CopyN(io.Discard, b.source, maxDiscard+1); !errors.Is(err, io.EOF) {
		return false
	}
	return ctrl.SetReadDeadline(time.Time{}) == nil
}

// closeAfterResponse has net/http send the response at once and close the connection. By
// itself, net/http waits for 256 KiB of the body first, which may never arrive: Caddy's
// idle timeouts hide the body from it. It also lingers before it closes, so that the
// client gets the response, but for http.MaxBytesReader only. Hence a reader over its
// limit.
func closeAfterResponse(w http.ResponseWriter) {
	if w = osa.InnermostWriter(w); w == nil {
		return
	}
	over := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = over.Read(make([]byte, 1))
}
