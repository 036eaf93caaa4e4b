// Package requestbody reads the bodies of requests into memory, within limits: on the
// size of a body, on the bytes of all bodies together, and on the time that a body takes
// to arrive.
package requestbody

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/memory"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Defaults of Limits.
const (
	// DefaultMaxSize is the largest body in bytes.
	DefaultMaxSize = 10 << 20
	// DefaultMinRate is how many bytes of a body have to arrive in a second.
	DefaultMinRate = 4 << 10
	// DefaultGrace is how long a body may be slower than that.
	DefaultGrace = 5 * time.Second
)

// Causes of errors, for the log.
var (
	errNotRead    = errors.New("request body could not be read")
	errReleased   = errors.New("the request body was released already")
	errPartlyRead = errors.New("another handler has read a part of the request body")
)

// Limits are the limits of bodies.
type Limits struct {
	maxSize int64
	byClass [2]admission.Limits
}

// NewLimits returns limits of the size of a body, of the bytes of all bodies of the process
// together, and of the bytes of a body that have to arrive in a second. All must be
// positive.
func NewLimits(maxSize, inflight, minRate int64, grace time.Duration) *Limits {
	limits := &Limits{maxSize: maxSize}
	for _, class := range []admission.Class{admission.Unverified, admission.Authenticated} {
		l := admission.LimitsOf(class, inflight, maxSize)
		l.MinRate, l.Grace = minRate, grace
		limits.byClass[class] = l
	}
	return limits
}

// defaultLimits are those of requests without an osa_guard.
var defaultLimits = sync.OnceValue(func() *Limits {
	return NewLimits(DefaultMaxSize, max(memory.Process().Bodies, DefaultMaxSize), DefaultMinRate, DefaultGrace)
})

// Body replaces the body of a request. Handlers that read r.Body get it as it arrives, up to
// the largest size. Once it has been read whole, it is read from memory.
type Body struct {
	limits    *Limits
	admission admission.Admission
	w         http.ResponseWriter
	source    io.ReadCloser // nil: there is no body
	length    int64         // Content-Length, or -1
	expects   bool          // the client waits for 100 Continue
	check     func(body []byte) error

	passed atomic.Int64 // bytes read from source
	atEnd  atomic.Bool  // source is read to its end
	used   atomic.Bool  // reading has begun

	read   bool // whole, or err is set
	data   []byte
	memory bytes.Reader
	err    error
}

// Exists reports whether a request may have a body. What follows a CONNECT is not one.
func Exists(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody && r.Method != http.MethodConnect
}

// Begin replaces the body of the request by b. Call Finish when the request is done.
func (b *Body) Begin(w http.ResponseWriter, r *http.Request, limits *Limits) {
	b.limits, b.w, b.length = limits, w, r.ContentLength
	if Exists(r) {
		b.source = r.Body
		b.expects = r.Header.Get("Expect") != ""
		r.Body = b
	}
	caddyhttp.SetVar(r.Context(), osa.VarBody, b)
}

// Check sets a check of the body, before a handler gets any of it. Its error is the
// response. It is called with nil for a body that is not empty and that a handler reads
// as it arrives.
func (b *Body) Check(check func(body []byte) error) { b.check = check }

// Hijacked tells that the connection was hijacked: what follows on it is not the body.
func (b *Body) Hijacked() { b.source = nil }

// Finish releases the memory of the body. If it was not read, it is discarded if it is small
// and has arrived. Otherwise the response is sent at once and the connection is closed.
func (b *Body) Finish() {
	b.admission.Release()
	if b.source == nil || b.atEnd.Load() {
		return
	}
	if b.used.Load() && b.err == nil {
		return // the handler that reads it deals with it
	}
	if b.used.Load() || !b.discard() {
		closeAfterResponse(b.w)
	}
}

func of(r *http.Request) *Body {
	b, _ := caddyhttp.GetVar(r.Context(), osa.VarBody).(*Body)
	return b
}

// Read returns the whole raw body. The first call reads it and puts it back as r.Body, for
// handlers of others. Without an osa_guard the limits are the defaults. A handler can
// return the error as it is. The bytes must not be changed.
func Read(r *http.Request) ([]byte, error) {
	b := of(r)
	if b == nil {
		if !Exists(r) {
			return []byte{}, nil
		}
		b = new(Body)
		b.Begin(nil, r, defaultLimits())
		// There is no handler before this one that would call Finish.
		defer b.admission.Release()
	}
	return b.whole(r)
}

// ReadBefore is Read for a handler that calls others. Call finish when they are done, also
// after an error.
func ReadBefore(w http.ResponseWriter, r *http.Request) (body []byte, finish func(), err error) {
	b := of(r)
	finish = func() {}
	if b == nil {
		if !Exists(r) {
			return []byte{}, finish, nil
		}
		b = new(Body)
		b.Begin(w, r, defaultLimits())
		finish = b.Finish
	}
	body, err = b.whole(r)
	return body, finish, err
}

// Serve reads the body and calls next. It is for handlers that authenticate: the body then
// counts for the caller and not for the address.
func Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	_, finish, err := ReadBefore(w, r)
	defer finish()
	if err != nil {
		return err
	}
	return next.ServeHTTP(w, r)
}

// AdmissionOf returns the admission of the request. Without an osa_guard the caller has to
// release it.
func AdmissionOf(r *http.Request) *admission.Admission {
	b := of(r)
	if b == nil {
		b = new(Body)
		b.Begin(nil, r, defaultLimits())
	}
	return &b.admission
}

// Release releases the memory of the body and the admission before the request is done. A
// large body cannot be read again after that, neither by Read nor from r.Body. It is for
// handlers that need the body no longer, such as one that has written it to disk. The
// goroutine of the request may call it more than once.
func Release(r *http.Request) {
	b := of(r)
	if b == nil {
		return
	}
	if !b.read || len(b.data) > admission.FirstBuffer { // smaller ones are not worth it
		b.read = true
		b.data, b.err = nil, httperror.Internal(errReleased).HandlerError()
		b.memory.Reset(nil)
	}
	b.admission.Release()
}

// whole reads the body, once.
func (b *Body) whole(r *http.Request) ([]byte, error) {
	if b.read {
		return b.data, b.err
	}
	b.read = true
	if b.data, b.err = b.take(r); b.err != nil {
		b.data = nil
		b.admission.Release()
		return nil, b.err
	}
	if b.source != nil {
		b.memory.Reset(b.data)
		r.Body = b
		r.ContentLength = int64(len(b.data))
		r.TransferEncoding = nil
	}
	return b.data, nil
}

func (b *Body) take(r *http.Request) ([]byte, error) {
	switch {
	case b.source == nil:
		return []byte{}, nil
	case b.length > b.limits.maxSize:
		return nil, tooLarge(b.limits.maxSize, nil)
	case r.Body == io.ReadCloser(b) && b.passed.Load() > 0:
		return nil, httperror.Internal(errPartlyRead).HandlerError()
	}
	class, key := sender(r)
	osa.Admission().Begin(&b.admission, class, key, b.limits.byClass[class], b)
	body, err := b.grow(r)
	if ended := b.admission.Complete(); ended != nil {
		return nil, refused(ended)
	}
	if err == nil && b.check != nil && len(body) > 0 {
		err = b.check(body)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.read && b.err == nil && b.data != nil {
		return b.memory.Read(p)
	}
	if b.source == nil {
		return 0, io.EOF
	}
	return b.pass(p)
}

// pass reads from the source, up to the largest size.
func (b *Body) pass(p []byte) (int, error) {
	if b.read && b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	b.used.Store(true)
	left := b.limits.maxSize - b.passed.Load()
	if left <= 0 {
		p = make([]byte, 1) // one byte more tells an end from too much
	} else if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.source.Read(p)
	if passed := b.passed.Add(int64(n)); err == io.EOF || passed == b.length {
		b.atEnd.Store(true)
	}
	if n > 0 && left <= 0 {
		return 0, tooLarge(b.limits.maxSize, nil)
	}
	if n > 0 && b.length < 0 && b.check != nil {
		if err := b.check(nil); err != nil {
			return 0, err
		}
	}
	return n, err
}

// Close implements io.Closer.
func (b *Body) Close() error {
	if b.read || b.source == nil {
		return nil
	}
	return b.source.Close()
}

// EndRead implements admission.Connection.
func (b *Body) EndRead() {
	if b.w != nil {
		// Where there are no deadlines, the server's own bound the read.
		_ = http.NewResponseController(b.w).SetReadDeadline(time.Unix(1, 0))
	}
}

func refused(err error) error {
	switch {
	case errors.Is(err, admission.ErrSlow):
		return timedOut(err)
	case errors.Is(err, admission.ErrFull), errors.Is(err, admission.ErrDisplaced):
		return httperror.Unavailable("The gateway is holding too many request bodies", time.Second).WithCause(err).HandlerError()
	}
	return unreadable(err, 0)
}

func timedOut(err error) error {
	p := &httperror.Error{
		Status: http.StatusRequestTimeout, Code: httperror.CodeRequestTimeout,
		Message: "The request body did not arrive in time", Err: errors.Join(errNotRead, err),
	}
	return p.HandlerError()
}

func tooLarge(limit int64, err error) error {
	p := &httperror.Error{
		Status: http.StatusRequestEntityTooLarge, Code: httperror.CodePayloadTooLarge,
		Message: "The request body is larger than this route accepts",
		Members: map[string]any{"max_bytes": limit}, Err: err,
	}
	return p.HandlerError()
}

// CheckLength returns the 413 of a request whose Content-Length is larger than the limit, or
// nil.
func (limits *Limits) CheckLength(r *http.Request) error {
	if r.ContentLength > limits.maxSize {
		return tooLarge(limits.maxSize, nil)
	}
	return nil
}

func unreadable(err error, limit int64) error {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return he
	}
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		// Caddy's request_body has a limit of its own.
		return tooLarge(min(limit, over.Limit), err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return timedOut(err)
	}
	return httperror.ValidationFailed(httperror.Invalid{Field: "body", Message: "the request body ended early or could not be read"}).
		WithCause(errors.Join(errNotRead, err)).HandlerError()
}

// Interface guards
var (
	_ io.ReadCloser        = (*Body)(nil)
	_ admission.Connection = (*Body)(nil)
)
