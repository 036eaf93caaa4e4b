// Package response writes responses in JSON. It gives the client a deadline for each
// part of a response: what waits for a client takes memory.
package response

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

const (
	// stallTimeout is how long a client may take to read partSize bytes.
	stallTimeout = 10 * time.Second
	// partSize is how much is written with one deadline.
	partSize = 32 << 10
	// minRate is how many bytes a second a client has to read of a response that is
	// held in memory, in addition to stallTimeout.
	minRate = 64 << 10
)

// Writer writes a response in parts, with a deadline for each. Call Begin, then Write
// as often as needed, then End.
type Writer struct {
	w     http.ResponseWriter
	ctrl  *http.ResponseController
	begun bool
	last  time.Time // the deadline of the whole response; zero is none
}

// NewWriter returns a writer of a response that has not begun.
func NewWriter(w http.ResponseWriter) *Writer {
	return &Writer{w: w, ctrl: http.NewResponseController(w)}
}

// Begin writes the header of a response in JSON. Calls after the first one do nothing.
// length is the length of the body in bytes, or -1 if it is not known.
func (o *Writer) Begin(status, length int) {
	if o.begun {
		return
	}
	o.begun = true
	h := o.w.Header()
	if h["Content-Type"] == nil {
		h["Content-Type"] = []string{"application/json"}
	}
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-store"}
	}
	if length >= 0 {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	o.w.WriteHeader(status)
}

// Write writes a part of the body. An error means that the client has left or does not
// read.
func (o *Writer) Write(b []byte) (n int, err error) {
	for n < len(b) {
		deadline := time.Now().Add(stallTimeout)
		if !o.last.IsZero() && o.last.Before(deadline) {
			deadline = o.last
		}
		if err := o.ctrl.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return n, err
		}
		wrote, err := o.w.Write(b[n:min(len(b), n+partSize)])
		if n += wrote; err != nil {
			return n, err
		}
	}
	return n, nil
}

// End flushes the response within the deadline of the last part. It then removes the
// deadline, because the connection may carry more requests.
func (o *Writer) End() {
	_ = o.ctrl.Flush()
	_ = o.ctrl.SetWriteDeadline(time.Time{})
}

// Write writes a body that is JSON already. A client that does not read it in time is
// disconnected. There is no error: a client that has left needs no response.
func Write(w http.ResponseWriter, status int, body []byte) {
	out := NewWriter(w)
	out.last = time.Now().Add(stallTimeout + time.Duration(len(body))*time.Second/minRate)
	out.Begin(status, len(body))
	_, _ = out.Write(body)
	out.End()
}

// JSON writes v as JSON, as Write does.
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := Encode(v)
	if err != nil {
		return httperror.Internal(err).HandlerError()
	}
	Write(w, status, append(body, '\n'))
	return nil
}

// Encode returns v as JSON. It does not escape <, > and &: no response of the gateway
// is read as HTML.
func Encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// WriteSmall is Write for a body of a few hundred bytes on a hot path: it sets no
// deadline and does not flush.
func WriteSmall(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	v := []string{"application/json", "no-store", strconv.Itoa(len(body))} // one allocation
	h["Content-Type"], h["Cache-Control"], h["Content-Length"] = v[0:1:1], v[1:2:2], v[2:3:3]
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has left needs no response
}
