//go:build linux

package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// h2 is a connection on which every frame is the attacker's own.
type h2 struct {
	*http2.Framer
	conn *tls.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer
	next uint32
}

// dialH2 connects over TLS and begins HTTP/2, with so much window for what is
// answered.
func (w *worker) dialH2(ctx context.Context, window uint32) (*h2, func(), bool) {
	conn, done, ok := w.dial(ctx, w.tlsAddr)
	if !ok {
		return nil, nil, false
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // the gateway's own certificate
	if err := c.HandshakeContext(ctx); err != nil {
		w.cutOff(ctx)
		done()
		return nil, nil, false
	}
	h := &h2{Framer: http2.NewFramer(c, c), conn: c, next: 1}
	h.enc = hpack.NewEncoder(&h.buf)
	_, _ = io.WriteString(c, http2.ClientPreface)
	_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	return h, done, true
}

// overH2 connects as dialH2 does, has do use the connection while its frames are
// read, and returns when both are over.
func (w *worker) overH2(ctx context.Context, window uint32, do func(h *h2, ended <-chan struct{})) {
	h, done, ok := w.dialH2(ctx, window)
	if !ok {
		return
	}
	ended := h.drain(ctx, w)
	do(h, ended)
	done()
	<-ended
}

// drain reads frames and counts answers until the connection ends.
func (h *h2) drain(ctx context.Context, w *worker) (ended chan struct{}) {
	ended = make(chan struct{})
	dec := hpack.NewDecoder(4096, nil)
	go func() {
		defer close(ended)
		for {
			f, err := h.ReadFrame()
			if err != nil {
				if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
					w.mark.cut.Add(1)
				}
				return
			}
			if f, ok := f.(*http2.HeadersFrame); ok {
				fields, err := dec.DecodeFull(f.HeaderBlockFragment())
				if err == nil && len(fields) > 0 && fields[0].Name == ":status" && len(fields[0].Value) == 3 {
					v := fields[0].Value
					w.mark.answered(int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0'))
				}
			}
		}
	}()
	return ended
}

// request opens a stream.
func (h *h2) request(w *worker, method, path string, end bool, more ...string) (id uint32, err error) {
	h.buf.Reset()
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", w.tlsAddr}, {":path", path}, {"content-type", "application/json"}} {
		_ = h.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	for i := 0; i+1 < len(more); i += 2 {
		_ = h.enc.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	id = h.next
	h.next += 2
	w.mark.sent.Add(int64(h.buf.Len()))
	return id, h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.buf.Bytes(), EndStream: end, EndHeaders: true})
}

// h2ResetFlood opens streams only to reset them.
func h2ResetFlood(ctx context.Context, w *worker) {
	w.overH2(ctx, 1<<20, func(h *h2, _ <-chan struct{}) {
		for n := range 5000 {
			id, err := h.request(w, "POST", w.path(), false)
			if err == nil {
				err = h.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			if err != nil || n%100 == 99 && !pause(ctx, 50*time.Millisecond) {
				break
			}
		}
	})
}

// h2SettingsFlood has the gateway acknowledge and answer.
func h2SettingsFlood(ctx context.Context, w *worker) {
	h, done, ok := w.dialH2(ctx, 1<<20)
	if !ok {
		return
	}
	defer done()
	// What it answers is not read: it must not gather.
	for n := range 20_000 {
		err := h.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(n) % 4096})
		if err == nil {
			err = h.WritePing(false, [8]byte{1})
		}
		if err != nil {
			w.cutOff(ctx)
			return
		}
		if n%200 == 199 && !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// h2Continuation sends a header that does not end.
func h2Continuation(ctx context.Context, w *worker) {
	w.overH2(ctx, 1<<20, func(h *h2, _ <-chan struct{}) {
		h.AllowIllegalWrites = true
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", w.tlsAddr}, {":path", "/api/health"}} {
			_ = h.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.buf.Bytes()})
		for n := 0; err == nil && n < 2000; n++ {
			h.buf.Reset()
			_ = h.enc.WriteField(hpack.HeaderField{Name: "x-more", Value: strings.Repeat("a", 4000), Sensitive: true})
			w.mark.sent.Add(int64(h.buf.Len()))
			err = h.WriteContinuation(1, false, h.buf.Bytes())
			if n%20 == 19 && !pause(ctx, 20*time.Millisecond) {
				break
			}
		}
	})
}

// h2HalfBody has as many streams as it may, each with half a body.
func h2HalfBody(ctx context.Context, w *worker) {
	w.overH2(ctx, 1<<20, func(h *h2, ended <-chan struct{}) {
		var ids []uint32
		for range 200 {
			id, err := h.request(w, "POST", w.path(), false, "content-length", "9000000", "x-osa-signature", w.badSignature())
			if err != nil {
				break
			}
			ids = append(ids, id)
			_ = h.WriteData(id, false, make([]byte, 4096))
		}
		for on := true; on; {
			select {
			case <-ended:
				return
			case <-ctx.Done():
				on = false
			case <-time.After(time.Second):
			}
			for _, id := range ids {
				if h.WriteData(id, false, []byte{'a'}) != nil {
					on = false
					break
				}
			}
		}
	})
}

// h2NoWindow asks for answers and leaves no room for them.
func h2NoWindow(ctx context.Context, w *worker) {
	w.overH2(ctx, 0, func(h *h2, ended <-chan struct{}) {
		for range 200 {
			if _, err := h.request(w, "GET", []string{"/metrics", "/api/health", "/nowhere", gateway.WebhookPath}[w.rng.IntN(4)], true); err != nil {
				break
			}
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
	})
}
