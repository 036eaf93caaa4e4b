package osa

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

// firstBuffer is the largest buffer that a body begins in: to announce more costs
// its sender nothing.
const firstBuffer = 4 << 10

// buffers are what bodies grow through.
var buffers admission.Buffers

// sender is whose share the body counts against: the caller's, or where none is
// known yet, that of the client's address.
func sender(r *http.Request) (admission.Class, admission.Key) {
	if p := PrincipalOf(r); p != nil && !p.Anonymous() {
		return admission.Authenticated, admission.Key{Method: p.Method, Name: p.ID}
	}
	if addr, err := netip.ParseAddr(clientIP(r)); err == nil {
		return admission.Unverified, admission.AddrKey(addr)
	}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return admission.Unverified, admission.AddrKey(addr.Addr())
	}
	return admission.Unverified, admission.Key{}
}

// grow reads the body whole. One with a Content-Length ends in one buffer of that
// size, which is made once a third of it has arrived, or a quarter of a small one.
// One without grows by twice what it has.
func (b *RequestBody) grow(r *http.Request) ([]byte, error) {
	a, limit := &b.admission, b.rules.maxBytes
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

// nextBuffer is the buffer that follows one of size have, and how large the last
// one will be, as far as that is known.
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
	// worthDiscarding is how much of a body that nobody wants is read and thrown
	// away, so that the connection can be used again.
	worthDiscarding = 64 << 10
	// discardTime is how long that may take.
	discardTime = 250 * time.Millisecond
)

// discard reads the body and throws it away, if it is small and has come: false if
// it is not or has not.
func (b *RequestBody) discard() bool {
	if b.length > worthDiscarding || b.w == nil || b.expects {
		return false
	}
	ctrl := http.NewResponseController(b.w)
	if ctrl.SetReadDeadline(time.Now().Add(discardTime)) != nil {
		return false
	}
	if _, err := io.CopyN(io.Discard, b.source, worthDiscarding+1); !errors.Is(err, io.EOF) {
		return false
	}
	return ctrl.SetReadDeadline(time.Time{}) == nil
}

// leaveRest has net/http answer at once and end the connection. By itself it
// would wait for 256 KiB of the body first, which may never come: it does not
// know the body behind Caddy's idle timeouts. That it then lingers, so that the
// sender gets the answer before the connection breaks, it does for
// http.MaxBytesReader only: hence one that is over its limit already.
func leaveRest(w http.ResponseWriter) {
	if w = InnermostWriter(w); w == nil {
		return
	}
	over := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = over.Read(make([]byte, 1))
}
