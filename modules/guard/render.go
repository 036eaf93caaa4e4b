package guard

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// write writes the error as {error, message, request_id, timestamp, members…}. Clients that
// accept application/problem+json get the members of RFC 9457 as well.
func write(w http.ResponseWriter, r *http.Request, p *httperror.Error, requestID string) error {
	var o object
	o.add("error", p.Code)
	o.add("message", p.Message)
	o.add("request_id", requestID)
	o.add("timestamp", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	contentType := typeJSON
	if wantsProblem(r.Header["Accept"]) {
		contentType = typeProblem
		title := http.StatusText(p.Status)
		if title == "" {
			title = p.Message
		}
		// RFC 9457 §4.2.1: about:blank means that the status says it all. The code is in
		// `error`.
		o.add("type", "about:blank")
		o.add("title", title)
		o.add("status", p.Status)
		o.add("detail", p.Message)
		o.add("instance", r.URL.EscapedPath())
	}
	for _, name := range slices.Sorted(maps.Keys(p.Members)) {
		o.add(name, p.Members[name])
	}
	body, err := o.bytes()
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Vary"] = append(h["Vary"], "Accept")
	response.Write(w, p.Status, body) // of which net/http sends nothing in answer to HEAD
	return nil
}

// object is a JSON object that keeps the order of its members. Of two members with the same
// name the first counts.
type object struct {
	buf   bytes.Buffer
	names []string
	err   error
}

func (o *object) add(name string, value any) {
	if slices.Contains(o.names, name) || o.err != nil {
		return
	}
	o.names = append(o.names, name)
	if len(o.names) == 1 {
		o.buf.WriteByte('{')
	} else {
		o.buf.WriteByte(',')
	}
	o.encode(name)
	o.buf.WriteByte(':')
	o.encode(value)
}

func (o *object) encode(value any) {
	raw, err := response.Encode(value)
	if err != nil {
		o.err = fmt.Errorf("encoding member %q of an error: %w", o.names[len(o.names)-1], err)
		return
	}
	o.buf.Write(raw)
}

func (o *object) bytes() ([]byte, error) {
	o.buf.WriteString("}\n")
	return o.buf.Bytes(), o.err
}

// wantsProblem reports whether Accept prefers problem+json to JSON. Wildcards do not count.
func wantsProblem(accept []string) bool {
	problem, plain := 0.0, 0.0
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, typeProblem):
				problem = max(problem, quality(params))
			case strings.EqualFold(name, typeJSON):
				plain = max(plain, quality(params))
			}
		}
	}
	return problem > 0 && problem >= plain
}

func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
