// Package redact is a log encoder that leaves out what opens doors.
package redact

import (
	"bytes"
	"encoding/json"
	"sync"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/internal/sensitive"
)

// redacted stands in place of what was left out.
const redacted = sensitive.Redacted

// EncodeEntry encodes the entry and its fields, with what is sensitive in the
// message, the stack and every field replaced.
func (e *Encoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	entry.Message = text(entry.Message)
	entry.Stack = text(entry.Stack)
	if len(fields) == 0 {
		return e.wrapped.EncodeEntry(entry, fields)
	}
	l := lines.Get().(*line)
	defer l.release()
	for i := range fields {
		l.add(&fields[i])
	}
	return e.wrapped.EncodeEntry(entry, l.fields)
}

// Clone is a copy for a logger with fields of its own.
func (e *Encoder) Clone() zapcore.Encoder {
	c := new(Encoder)
	c.wrap(e.wrapped.Clone())
	return c
}

// A line is the fields of an entry in the form that the wrapped encoder gets.
type line struct{ fields []zapcore.Field }

// mostHeld bounds what a line that is kept for the next entry may hold.
const mostHeld = 64

var lines = sync.Pool{New: func() any { return new(line) }}

func (l *line) release() {
	if cap(l.fields) > mostHeld {
		return
	}
	clear(l.fields)
	l.fields = l.fields[:0]
	lines.Put(l)
}

// add adds a field. Numbers, times and booleans give nothing away and stay what
// they are. Everything else is redacted when it is encoded.
func (l *line) add(f *zapcore.Field) {
	switch f.Type {
	case zapcore.StringType:
		out := *f
		out.Key, out.String = key(f.Key), stringOf(f.Key, f.String)
		l.fields = append(l.fields, out)
	case zapcore.ObjectMarshalerType, zapcore.ArrayMarshalerType, zapcore.InlineMarshalerType, zapcore.BinaryType, zapcore.ByteStringType,
		zapcore.ReflectType, zapcore.StringerType, zapcore.ErrorType:
		l.fields = append(l.fields, zapcore.Field{Type: zapcore.InlineMarshalerType, Interface: (*field)(f)})
	default:
		out := *f
		out.Key = key(f.Key)
		l.fields = append(l.fields, out)
	}
}

// A field encodes itself redacted.
type field zapcore.Field

// MarshalLogObject adds the field to an object.
func (f *field) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	zapcore.Field(*f).AddTo(object{enc})
	return nil
}

// address reports whether fields and headers of the name hold an address or a
// path, whatever it looks like.
func address(key string) bool {
	switch key {
	case "uri", "url", "path", "Referer", "Location", "Content-Location", "Origin", "Link", "Refresh", "referer", "location",
		"request_uri", "original_uri", "X-Forwarded-Uri", "X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", ":path":
		return true
	}
	return false
}

// key is what may be shown of a key. Shorter ones hold no credential.
func key(k string) string {
	if len(k) < 14 {
		return k
	}
	return sensitive.Text(k, redacted)
}

func text(s string) string { return value(s, false) }

// stringOf is what may be shown of the string under the key.
func stringOf(key, s string) string {
	if s == "" {
		return s
	}
	if sensitive.Name(key) {
		return redacted
	}
	return value(s, address(key))
}

// value is what may be shown of a string under a key that is no secret's.
func value(s string, address bool) string {
	if address || sensitive.LooksLikeURI(s) {
		return sensitive.URI(s, redacted)
	}
	return sensitive.Text(s, redacted)
}

// reflected is what may be shown of a value that encodes itself as JSON.
func reflected(key string, v any) any {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return redacted
	}
	raw := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if sensitive.Name(key) {
		raw = sensitive.AppendAllMasked(nil, raw, redacted)
	} else {
		raw = sensitive.AppendMasked(nil, raw, redacted)
	}
	return json.RawMessage(raw)
}
