package guard

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

// writer records whether the response has begun: a later error must not be written into it.
// It also holds the request's body, which saves an allocation.
type writer struct {
	caddyhttp.ResponseWriterWrapper
	committed bool
	hijacked  bool
	body      requestbody.Body
}

// finishBody releases the body. A hijacked connection is not touched.
func (w *writer) finishBody() {
	if w.hijacked {
		w.body.Hijacked()
	}
	w.body.Finish()
}

func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.committed = true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	w.committed = true
	return w.ResponseWriter.Write(b)
}

func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.committed = true
	return w.ResponseWriterWrapper.ReadFrom(r)
}

func (w *writer) FlushError() error {
	w.committed = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	w.committed = w.committed || w.hijacked
	return conn, rw, err
}

// Interface guards
var (
	_ http.ResponseWriter = (*writer)(nil)
	_ http.Hijacker       = (*writer)(nil)
	_ io.ReaderFrom       = (*writer)(nil)
)
