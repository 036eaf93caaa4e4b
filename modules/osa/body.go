package osa

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
)

// What holds of bodies where nothing else is said.
const (
	// DefaultMaxBody is the largest one, in bytes.
	DefaultMaxBody = 10 << 20
	// DefaultMinRate is how many bytes a second have to arrive.
	DefaultMinRate = 4 << 10
	// DefaultGrace is how long a body may be behind that.
	DefaultGrace = 5 * time.Second
)

// Errors in the log of requests whose body was not read.
var (
	errNoBody   = errors.New("request body could not be read")
	errReleased = errors.New("the request body was released already")
	errTaken    = errors.New("another handler has read a part of the request body")
)

// BodyRules are what bodies are held to. They are made once, by NewBodyRules.
type BodyRules struct {
	maxBytes int64
	limits   [2]admission.Limits // by class
}

// NewBodyRules are rules of a largest body, of the bytes that all bodies of the
// process may take, and of the bytes a second that have to arrive of each. All are
// positive.
func NewBodyRules(maxBytes, inflight, minRate int64, grace time.Duration) *BodyRules {
	rules := &BodyRules{maxBytes: maxBytes}
	for _, class := range []admission.Class{admission.Unverified, admission.Authenticated} {
		l := admission.LimitsOf(class, inflight, maxBytes)
		l.MinRate, l.Grace = minRate, grace
		rules.limits[class] = l
	}
	return rules
}

var defaultRules = sync.OnceValue(func() *BodyRules {
	return NewBodyRules(DefaultMaxBody, max(memory.Process().Bodies, DefaultMaxBody), DefaultMinRate, DefaultGrace)
})

// RequestBody is the body of a request, in the place of r.Body. Until it is read
// whole, who reads r.Body gets it as it comes, up to the largest size; afterwards
// it is read from memory, as often as r.Body is set anew.
type RequestBody struct {
	rules     *BodyRules
	admission admission.Admission
	w         http.ResponseWriter
	source    io.ReadCloser // nil: there is no body
	length    int64         // that was announced, -1 if none was
	expects   bool          // the client waits to be asked for it
	refuse    func(body []byte) error

	passed atomic.Int64 // read from source
	atEnd  atomic.Bool  // of source
	used   atomic.Bool  // somebody began to read

	read   bool // whole, or err is set
	data   []byte
	memory bytes.Reader
	err    error
}

// HasBody reports whether a request may have a body. A tunnel's is not one.
func HasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody && r.Method != http.MethodConnect
}

// Begin puts b in the place of the request's body. Finish has to follow, when the
// request is done with.
func (b *RequestBody) Begin(w http.ResponseWriter, r *http.Request, rules *BodyRules) {
	b.rules, b.w, b.length = rules, w, r.ContentLength
	if HasBody(r) {
		b.source = r.Body
		b.expects = r.Header.Get("Expect") != ""
		r.Body = b
	}
	caddyhttp.SetVar(r.Context(), varBody, b)
}

// OnlyIf has a body refused for what it holds: the error of refuse is the answer.
// It is called before anything of the body is handed on, with nil for a body that
// is not empty and not to be read.
func (b *RequestBody) OnlyIf(refuse func(body []byte) error) { b.refuse = refuse }

// Forget says that the connection was taken over: what comes over it is no body of
// this request any more.
func (b *RequestBody) Forget() { b.source = nil }

// Finish gives back what the body holds. What was not read of it is thrown away if
// it is small and here; otherwise the answer goes out at once and the connection
// ends.
func (b *RequestBody) Finish() {
	b.admission.Release()
	if b.source == nil || b.atEnd.Load() {
		return
	}
	if b.used.Load() && b.err == nil {
		return // its reader's affair
	}
	if b.used.Load() || !b.discard() {
		leaveRest(b.w)
	}
}

func bodyOf(r *http.Request) *RequestBody {
	b, _ := caddyhttp.GetVar(r.Context(), varBody).(*RequestBody)
	return b
}

// Body is the whole raw body. Whoever asks first has it read, and put back as the
// request's Body for handlers that know nothing of this. Without osa_guard before,
// it is held to defaults. Errors are ready to be returned by a handler. The bytes
// must not be changed.
func Body(r *http.Request) ([]byte, error) {
	b := bodyOf(r)
	if b == nil {
		if !HasBody(r) {
			return []byte{}, nil
		}
		b = new(RequestBody)
		b.Begin(nil, r, defaultRules())
		// Nobody before will finish it. Its memory is the garbage collector's then.
		defer b.admission.Release()
	}
	return b.whole(r)
}

// ReadBody is Body for a handler that stands before others. finish has to be called
// when they are done, also after an error.
func ReadBody(w http.ResponseWriter, r *http.Request) (body []byte, finish func(), err error) {
	b := bodyOf(r)
	finish = func() {}
	if b == nil {
		if !HasBody(r) {
			return []byte{}, finish, nil
		}
		b = new(RequestBody)
		b.Begin(w, r, defaultRules())
		finish = b.Finish
	}
	body, err = b.whole(r)
	return body, finish, err
}

// ServeWithBody reads the body and has next answer. Handlers call it that have found
// out who the caller is: the body then counts against the caller's share.
func ServeWithBody(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	_, finish, err := ReadBody(w, r)
	defer finish()
	if err != nil {
		return err
	}
	return next.ServeHTTP(w, r)
}

// AdmissionOf is what the request was let in with. Where no osa_guard stands before,
// the caller has to release it.
func AdmissionOf(r *http.Request) *admission.Admission {
	b := bodyOf(r)
	if b == nil {
		b = new(RequestBody)
		b.Begin(nil, r, defaultRules())
	}
	return &b.admission
}

// ReleaseBody says that nobody needs the request's body any more, or holds any of
// it, and gives back what the request was let in with: there is room for others
// before this request is answered. A large body is not given again, neither by
// Body nor as the request's own. A handler that is sure of it, such as one that
// has written the body to disk, calls it before it waits for anything. It may be
// called more than once, by the request's goroutine.
func ReleaseBody(r *http.Request) {
	b := bodyOf(r)
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

// whole reads the body unless that was done.
func (b *RequestBody) whole(r *http.Request) ([]byte, error) {
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

func (b *RequestBody) take(r *http.Request) ([]byte, error) {
	switch {
	case b.source == nil:
		return []byte{}, nil
	case b.length > b.rules.maxBytes:
		return nil, tooLarge(b.rules.maxBytes, nil)
	case r.Body == io.ReadCloser(b) && b.passed.Load() > 0:
		return nil, httperror.Internal(errTaken).HandlerError()
	}
	class, key := sender(r)
	Admission().Begin(&b.admission, class, key, b.rules.limits[class], b)
	body, err := b.grow(r)
	if ended := b.admission.Complete(); ended != nil {
		return nil, refused(ended)
	}
	if err == nil && b.refuse != nil && len(body) > 0 {
		err = b.refuse(body)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Read is that of r.Body.
func (b *RequestBody) Read(p []byte) (int, error) {
	if b.read && b.err == nil && b.data != nil {
		return b.memory.Read(p)
	}
	if b.source == nil {
		return 0, io.EOF
	}
	return b.pass(p)
}

// pass hands on what comes, up to the largest size.
func (b *RequestBody) pass(p []byte) (int, error) {
	if b.read && b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	b.used.Store(true)
	left := b.rules.maxBytes - b.passed.Load()
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
		return 0, tooLarge(b.rules.maxBytes, nil)
	}
	if n > 0 && b.length < 0 && b.refuse != nil {
		if err := b.refuse(nil); err != nil {
			return 0, err
		}
	}
	return n, err
}

// Close implements io.Closer.
func (b *RequestBody) Close() error {
	if b.read || b.source == nil {
		return nil
	}
	return b.source.Close()
}

// EndRead implements admission.Connection.
func (b *RequestBody) EndRead() {
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
		Message: "The request body did not arrive in time", Err: errors.Join(errNoBody, err),
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

// BodyTooLarge is the answer to a body that is announced larger than the rules
// allow, nil for another.
func (rules *BodyRules) BodyTooLarge(r *http.Request) error {
	if r.ContentLength > rules.maxBytes {
		return tooLarge(rules.maxBytes, nil)
	}
	return nil
}

func unreadable(err error, limit int64) error {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return he
	}
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		// Caddy's request_body stands in front with a limit of its own.
		return tooLarge(min(limit, over.Limit), err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return timedOut(err)
	}
	return httperror.ValidationFailed(httperror.Invalid{Field: "body", Message: "the request body ended early or could not be read"}).
		WithCause(errors.Join(errNoBody, err)).HandlerError()
}

// Interface guards
var (
	_ io.ReadCloser        = (*RequestBody)(nil)
	_ admission.Connection = (*RequestBody)(nil)
)
