package osa

import (
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// DefaultMaxBody is the largest body that is read where nothing else is said.
const DefaultMaxBody = 10 << 20

// How much room a body gets before any of it has arrived, with and without a
// Content-Length. More is taken as it is filled: to announce a large body costs
// its sender nothing.
const (
	firstRead        = 64 << 10
	firstReadChunked = 4 << 10
)

// ErrNoBody is returned by Body when no osa_guard read it and it could not be
// read here.
var ErrNoBody = errors.New("request body could not be read")

// ErrBudget is the reason when too many bodies are held at once.
var ErrBudget = errors.New("too many request bodies are held at once")

// Budget bounds the memory of bodies that are held at the same time.
type Budget struct{ held atomic.Int64 }

// Held is how many bytes are held now.
func (b *Budget) Held() int64 { return b.held.Load() }

// Release gives bytes back.
func (b *Budget) Release(n int64) { b.held.Add(-n) }

func (b *Budget) take(n, limit int64) bool {
	if b.held.Add(n) > limit {
		b.held.Add(-n)
		return false
	}
	return true
}

// ReadBody reads the request's body up to limit bytes; more is a 413 whatever
// Content-Length said, and never a truncated body.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	b, _, err := ReadBodyWithin(r, limit, new(Budget), math.MaxInt64)
	return b, err
}

// ReadBodyWithin is ReadBody for a body that counts against a budget of
// maxHeld bytes; more is a 503. It returns how many bytes it took, for Release
// when the body is done with; after an error it took none. Errors are ready to
// be returned by a handler.
func ReadBodyWithin(r *http.Request, limit int64, budget *Budget, maxHeld int64) (body []byte, took int64, err error) {
	if r.ContentLength > limit {
		return nil, 0, tooLarge(limit, nil)
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return []byte{}, 0, nil
	}
	// One byte more than may come tells an end from more.
	end, first := limit+1, int64(firstReadChunked)
	if r.ContentLength > 0 {
		end, first = r.ContentLength, firstRead
	}
	buf := []byte(nil)
	for {
		if len(buf) == cap(buf) {
			room := min(end, max(first, 2*int64(cap(buf))))
			if !budget.take(room-took, maxHeld) {
				budget.Release(took)
				return nil, 0, Unavailable("The gateway is holding too many request bodies", time.Second).Because(ErrBudget).Handler()
			}
			took = room
			grown := make([]byte, len(buf), room)
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			budget.Release(took)
			return nil, 0, tooLarge(limit, nil)
		case int64(len(buf)) == r.ContentLength:
			return buf, took, nil
		case err == io.EOF && r.ContentLength < 0:
			return buf, took, nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			budget.Release(took)
			return nil, 0, unreadable(err, limit)
		}
	}
}

func tooLarge(limit int64, err error) error {
	p := &Problem{
		Status: http.StatusRequestEntityTooLarge, Code: CodePayloadTooLarge,
		Message: "The request body is larger than this route accepts",
		Members: map[string]any{"max_bytes": limit}, Err: err,
	}
	return p.Handler()
}

func unreadable(err error, limit int64) error {
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		// Caddy's request_body stands in front with a limit of its own.
		return tooLarge(min(limit, over.Limit), err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p := &Problem{
			Status: http.StatusRequestTimeout, Code: CodeRequestTimeout,
			Message: "The request body did not arrive in time", Err: errors.Join(ErrNoBody, err),
		}
		return p.Handler()
	}
	return ValidationFailed(Invalid{Field: "body", Message: "the request body ended early or could not be read"}).
		Because(errors.Join(ErrNoBody, err)).Handler()
}
