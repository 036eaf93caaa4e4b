// Package redact is the log encoder osa_redact, which replaces credentials in log entries.
package redact

import (
	"bytes"
	"encoding/json"
	"sync"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/internal/sensitive"
)

// redacted replaces a credential.
const redacted = sensitive.Redacted

// EncodeEntry encodes the entry and its fields. Credentials in the message, the stack and the
// fields are replaced.
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

// Clone returns a copy, for a logger with fields of its own.
func (e *Encoder) Clone() zapcore.Encoder {
	c := new(Encoder)
	c.wrap(e.wrapped.Clone())
	return c
}

// A line is the fields of an entry as they are passed to the wrapped encoder.
type line struct{ fields []zapcore.Field }

// maxPooledFields is the capacity up to which a line is reused.
const maxPooledFields = 64

var lines = sync.Pool{New: func() any { return new(line) }}

func (l *line) release() {
	if cap(l.fields) > maxPooledFields {
		return
	}
	clear(l.fields)
	l.fields = l.fields[:0]
	lines.Put(l)
}

// add adds a field. Numbers, times and booleans do not change. All else is redacted when it
// is encoded.
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

// A field is a zap field that is redacted when it is encoded.
type field zapcore.Field

// MarshalLogObject adds the field to an object.
func (f *field) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	zapcore.Field(*f).AddTo(object{enc})
	return nil
}

// address reports whether fields and headers of the name hold a URL or a path.
func address(key string) bool {
	switch key {
	case "uri", "url", "path", "Referer", "Location", "Content-Location", "Origin", "Link", "Refresh", "referer", "location",
		"request_uri", "original_uri", "X-Forwarded-Uri", "X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", ":path":
		return true
	}
	return false
}

// key redacts a key. Short keys hold no credential.
func key(k string) string {
	if len(k) < 14 {
		return k
	}
	return sensitive.Text(k, redacted)
}

func text(s string) string { return value(s, false) }

// stringOf redacts the string of a key.
func stringOf(key, s string) string {
	if s == "" {
		return s
	}
	if sensitive.Name(key) {
		return redacted
	}
	return value(s, address(key))
}

// value redacts a string whose key does not name a secret.
func value(s string, address bool) string {
	if address || sensitive.LooksLikeURI(s) {
		return sensitive.URI(s, redacted)
	}
	return sensitive.Text(s, redacted)
}

// reflected redacts a value that is encoded as JSON.
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
