package guard

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/osa-edge/osa-gateway/internal/inflight"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// hasBody reports whether there may be a body to read. A tunnel's is not one.
func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody && r.Method != http.MethodConnect
}

// takeBody reads the body whole and leaves it to those that follow, both as
// osa.Body and as the request's Body, for handlers that know nothing of us.
func (g *Guard) takeBody(r *http.Request, w *writer) error {
	length := r.ContentLength
	err := g.readBody(r, w)
	if err != nil && (length < 0 || length > worthDraining) {
		leaveRest(w)
	}
	return err
}

func (g *Guard) readBody(r *http.Request, w *writer) error {
	if r.ContentLength > g.MaxBody {
		_, err := osa.ReadBodyWithin(r, g.MaxBody, &w.hold) // the 413, reading nothing
		return err
	}
	// A type that cannot pass is refused before its body takes any room. Without
	// a Content-Length only reading shows whether there is a body at all.
	verdict := g.types.judge(r.Header)
	if verdict == refused && r.ContentLength > 0 {
		return g.unsupported()
	}
	limit := g.MaxBody
	if verdict == refused {
		var first [1]byte
		if n, err := io.ReadFull(r.Body, first[:]); n > 0 || err != io.EOF {
			return g.unsupported()
		}
		limit = 0
	}
	bodies.Begin(&w.hold, g.limits)
	body, err := osa.ReadBodyWithin(r, limit, &w.hold)
	if err != nil {
		return err
	}
	if verdict == form && len(body) > 0 {
		if !isJSONObject(body) {
			return g.unsupported()
		}
		r.Header["Content-Type"] = []string{"application/json"}
	}
	osa.SetBody(r, body)
	rd := new(reader)
	if len(body) > inflight.FirstBuffer {
		// Worth letting go of before the request is answered.
		osa.SetReleaseBody(r, func() {
			rd.Reset(nil)
			w.hold.Release()
		})
	}
	rd.Reset(body)
	r.Body = rd
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	return nil
}

// worthDraining is how much of a refused body is read and thrown away, so that
// the connection can be used again.
const worthDraining = 64 << 10

// leaveRest has net/http answer at once and end the connection. By itself it
// would wait for 256 KiB of the body first, which may never come: it does not
// know the body behind Caddy's idle timeouts. That it then lingers, so that the
// sender gets the answer before the connection breaks, it does for
// http.MaxBytesReader only: hence one that is over its limit already.
func leaveRest(w http.ResponseWriter) {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	over := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = over.Read(make([]byte, 1))
}

func (g *Guard) unsupported() error {
	p := &osa.Problem{
		Status: http.StatusUnsupportedMediaType, Code: osa.CodeUnsupportedMedia,
		Message: "The request body has a content type or encoding that this route does not accept",
		Members: map[string]any{"accepted_content_types": g.ContentTypes, "accepted_encodings": []string{"identity"}},
		// RFC 9110 §15.5.16: both name what would have been accepted.
		Header: http.Header{"Accept": {strings.Join(g.ContentTypes, ", ")}, "Accept-Encoding": {"identity"}},
	}
	return p.Handler()
}

// isJSONObject reports whether a form body is what curl -d '{…}' sends.
func isJSONObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(body)
}

// reader is a body that was read already.
type reader struct{ bytes.Reader }

func (*reader) Close() error { return nil }
