package guard

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

// limitBody refuses a body that is too large or of another type according to the headers.
// It prepares the body for the handlers that read it.
func (g *Guard) limitBody(r *http.Request, w *writer) error {
	w.body.Begin(w, r, g.limits)
	if err := g.limits.CheckLength(r); err != nil {
		return err
	}
	switch verdict := g.types.check(r.Header); {
	case verdict == accepted:
	case verdict == form:
		w.body.Check(func(body []byte) error {
			if body == nil {
				return nil // a handler that reads it as it arrives knows forms
			}
			if !isJSONObject(body) {
				return g.unsupported()
			}
			r.Header["Content-Type"] = []string{"application/json"}
			return nil
		})
	case r.ContentLength > 0:
		return g.unsupported()
	default:
		// Without a Content-Length, only reading shows whether there is a body.
		w.body.Check(func([]byte) error { return g.unsupported() })
	}
	return nil
}

func (g *Guard) unsupported() error {
	p := &httperror.Error{
		Status: http.StatusUnsupportedMediaType, Code: httperror.CodeUnsupportedMedia,
		Message: "The request body has a content type or encoding that this route does not accept",
		Members: map[string]any{"accepted_content_types": g.ContentTypes, "accepted_encodings": []string{"identity"}},
		// RFC 9110 §15.5.16: both name what would have been accepted.
		Header: http.Header{"Accept": {strings.Join(g.ContentTypes, ", ")}, "Accept-Encoding": {"identity"}},
	}
	return p.HandlerError()
}

// isJSONObject reports whether a form body is what curl -d '{…}' sends.
func isJSONObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(body)
}
