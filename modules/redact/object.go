package redact

import (
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/internal/sensitive"
)

// object redacts the fields that are added to an object.
type object struct{ zapcore.ObjectEncoder }

func (o object) AddArray(k string, v zapcore.ArrayMarshaler) error {
	if headers, ok := v.(caddyhttp.LoggableStringArray); ok {
		return o.ObjectEncoder.AddArray(key(k), stringsOf(k, headers, v))
	}
	return o.ObjectEncoder.AddArray(key(k), elements{v, k, sensitive.Name(k)})
}

// stringsOf redacts the values of a header. It returns whole if nothing is redacted.
func stringsOf(k string, values caddyhttp.LoggableStringArray, whole zapcore.ArrayMarshaler) zapcore.ArrayMarshaler {
	secret, address := sensitive.Name(k), address(k)
	var out caddyhttp.LoggableStringArray
	for i, v := range values {
		shown := redacted
		if !secret {
			shown = value(v, address)
		}
		if shown != v && out == nil {
			out = slices.Clone(values)
		}
		if out != nil {
			out[i] = shown
		}
	}
	if out == nil {
		return whole
	}
	return out
}

func (o object) AddObject(k string, v zapcore.ObjectMarshaler) error {
	if sensitive.Name(k) {
		o.ObjectEncoder.AddString(key(k), redacted)
		return nil
	}
	return o.ObjectEncoder.AddObject(key(k), members{v})
}

func (o object) AddBinary(k string, v []byte) {
	if s := stringOf(k, string(v)); s != string(v) {
		o.ObjectEncoder.AddString(key(k), redacted)
		return
	}
	o.ObjectEncoder.AddBinary(key(k), v)
}

func (o object) AddByteString(k string, v []byte) {
	o.ObjectEncoder.AddString(key(k), stringOf(k, string(v)))
}

func (o object) AddString(k, v string) { o.ObjectEncoder.AddString(key(k), stringOf(k, v)) }

func (o object) AddReflected(k string, v any) error {
	return o.ObjectEncoder.AddReflected(key(k), reflected(k, v))
}

// Of the other types only the key is redacted.

func (o object) AddBool(k string, v bool)              { o.ObjectEncoder.AddBool(key(k), v) }
func (o object) AddComplex128(k string, v complex128)  { o.ObjectEncoder.AddComplex128(key(k), v) }
func (o object) AddComplex64(k string, v complex64)    { o.ObjectEncoder.AddComplex64(key(k), v) }
func (o object) AddDuration(k string, v time.Duration) { o.ObjectEncoder.AddDuration(key(k), v) }
func (o object) AddFloat64(k string, v float64)        { o.ObjectEncoder.AddFloat64(key(k), v) }
func (o object) AddFloat32(k string, v float32)        { o.ObjectEncoder.AddFloat32(key(k), v) }
func (o object) AddInt(k string, v int)                { o.ObjectEncoder.AddInt(key(k), v) }
func (o object) AddInt64(k string, v int64)            { o.ObjectEncoder.AddInt64(key(k), v) }
func (o object) AddInt32(k string, v int32)            { o.ObjectEncoder.AddInt32(key(k), v) }
func (o object) AddInt16(k string, v int16)            { o.ObjectEncoder.AddInt16(key(k), v) }
func (o object) AddInt8(k string, v int8)              { o.ObjectEncoder.AddInt8(key(k), v) }
func (o object) AddTime(k string, v time.Time)         { o.ObjectEncoder.AddTime(key(k), v) }
func (o object) AddUint(k string, v uint)              { o.ObjectEncoder.AddUint(key(k), v) }
func (o object) AddUint64(k string, v uint64)          { o.ObjectEncoder.AddUint64(key(k), v) }
func (o object) AddUint32(k string, v uint32)          { o.ObjectEncoder.AddUint32(key(k), v) }
func (o object) AddUint16(k string, v uint16)          { o.ObjectEncoder.AddUint16(key(k), v) }
func (o object) AddUint8(k string, v uint8)            { o.ObjectEncoder.AddUint8(key(k), v) }
func (o object) AddUintptr(k string, v uintptr)        { o.ObjectEncoder.AddUintptr(key(k), v) }
func (o object) OpenNamespace(k string)                { o.ObjectEncoder.OpenNamespace(key(k)) }

// members redacts the members of an object.
type members struct{ zapcore.ObjectMarshaler }

func (m members) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	return m.ObjectMarshaler.MarshalLogObject(object{enc})
}

// elements redacts the elements of an array.
type elements struct {
	zapcore.ArrayMarshaler
	key    string
	secret bool
}

func (e elements) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	return e.ArrayMarshaler.MarshalLogArray(array{enc, e.key, e.secret})
}

// array redacts the elements that are appended to an array.
type array struct {
	zapcore.ArrayEncoder
	key    string
	secret bool
}

func (a array) AppendString(v string) {
	if a.secret {
		v = redacted
	}
	a.ArrayEncoder.AppendString(stringOf(a.key, v))
}

func (a array) AppendByteString(v []byte) { a.AppendString(string(v)) }

func (a array) AppendArray(v zapcore.ArrayMarshaler) error {
	return a.ArrayEncoder.AppendArray(elements{v, a.key, a.secret})
}

func (a array) AppendObject(v zapcore.ObjectMarshaler) error {
	if a.secret {
		a.ArrayEncoder.AppendString(redacted)
		return nil
	}
	return a.ArrayEncoder.AppendObject(members{v})
}

func (a array) AppendReflected(v any) error {
	return a.ArrayEncoder.AppendReflected(reflected(a.key, v))
}
