package osa

import (
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/osa-edge/osa-gateway/internal/inflight"
)

// DefaultMaxBody is the largest body that is read where nothing else is said.
const DefaultMaxBody = 10 << 20

// firstChunked is the buffer of a body without a Content-Length.
const firstChunked = 4 << 10

// ErrNoBody is returned by Body when no osa_guard read it and it could not be
// read here.
var ErrNoBody = errors.New("request body could not be read")

// ErrBudget is the reason when too many bodies are held at once.
var ErrBudget = inflight.ErrFull

// buffers are what bodies grow through.
var buffers inflight.Buffers

// ReadBody reads the request's body up to limit bytes; more is a 413 whatever
// Content-Length said, and never a truncated body.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	var hold inflight.Hold
	new(inflight.Budget).Begin(&hold, inflight.Limits{Total: math.MaxInt64, Large: math.MaxInt64})
	return ReadBodyWithin(r, limit, &hold)
}

// ReadBodyWithin is ReadBody for a body that counts against a budget, at its
// whole cost: hold has begun in it, and has to be released once the body is done
// with. Where there is no room for the body, that is a 503; after an error
// nothing is held. Errors are ready to be returned by a handler.
//
// A body with a Content-Length ends in one buffer of that size, which is made
// once a third of it has arrived: to announce a large body costs its sender
// nothing. One without grows by twice what it has.
func ReadBodyWithin(r *http.Request, limit int64, hold *inflight.Hold) (body []byte, err error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit, nil)
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return []byte{}, nil
	}
	body, err = read(r, limit, hold)
	if err != nil {
		hold.Release()
		return nil, err
	}
	hold.Arrived()
	return body, nil
}

func read(r *http.Request, limit int64, hold *inflight.Hold) ([]byte, error) {
	var buf []byte
	for {
		if len(buf) == cap(buf) && int64(len(buf)) < limit {
			size, whole := nextBuffer(int64(cap(buf)), r.ContentLength, limit)
			if err := hold.Grow(r.Context(), size, whole); err != nil {
				buffers.Put(buf)
				return nil, Unavailable("The gateway is holding too many request bodies", time.Second).Because(err).Handler()
			}
			grown := append(buffers.Get(int(size)), buf...)
			buffers.Put(buf)
			buf = grown
			hold.Settle(size)
		}
		into := buf[len(buf):cap(buf)]
		if len(into) == 0 {
			into = make([]byte, 1) // one byte more tells an end from too much
		}
		n, err := r.Body.Read(into)
		if int64(len(buf)+n) > limit {
			return nil, tooLarge(limit, nil)
		}
		buf = buf[:len(buf)+n]
		hold.Read(n)
		switch {
		case int64(len(buf)) == r.ContentLength, err == io.EOF && r.ContentLength < 0:
			return buf, nil
		case err == io.EOF:
			return nil, unreadable(io.ErrUnexpectedEOF, limit)
		case err != nil:
			return nil, unreadable(err, limit)
		}
	}
}

// nextBuffer is the buffer that follows one of size have, and how large the last
// one will be, as far as that is known.
func nextBuffer(have, announced, limit int64) (size, whole int64) {
	switch {
	case announced < 0:
		size = min(max(firstChunked, 2*have), limit)
		return size, size
	case announced <= max(inflight.FirstBuffer, 3*have):
		return announced, announced
	}
	return max(inflight.FirstBuffer, 2*have), announced
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
