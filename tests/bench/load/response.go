package load

import (
	"bytes"
	"errors"
	"strconv"
)

// errResponse: what the server sent is not understood here. Only what Caddy
// sends is: a Content-Length, no chunks.
var errResponse = errors.New("response is not understood")

// response reads one response from a connection without keeping it: the status
// line, the length, the first bytes of the body.
type response struct {
	buf    [2048]byte
	n      int // bytes in buf
	header int // length of the header with its blank line; 0 until it is whole
	body   int // length of the body
	got    int // bytes of the body that have arrived

	status     int
	retryAfter bool
	closing    bool
}

// reset leaves buf as it is: to clear it at every response would be most of what
// a response costs here.
func (r *response) reset() {
	r.n, r.header, r.body, r.got = 0, 0, 0, 0
	r.status, r.retryAfter, r.closing = 0, false, false
}

// room is where the next bytes are to be read into.
func (r *response) room() []byte {
	if r.header > 0 && r.n == len(r.buf) {
		return r.buf[r.header:] // of a long body only the beginning is kept
	}
	return r.buf[r.n:]
}

// took tells that n bytes were read into room.
func (r *response) took(n int) (done bool, err error) {
	if r.header > 0 {
		r.got += n
		r.n = min(r.n+n, len(r.buf))
		return r.finished()
	}
	from := max(0, r.n-3)
	r.n += n
	end := bytes.Index(r.buf[from:r.n], crlfcrlf)
	if end < 0 {
		if r.n == len(r.buf) {
			return false, errResponse
		}
		return false, nil
	}
	if r.header = from + end + len(crlfcrlf); r.header > len(r.buf)-256 {
		return false, errResponse // room is needed for the body
	}
	r.got = r.n - r.header
	if err := r.parse(r.buf[:r.header]); err != nil {
		return false, err
	}
	return r.finished()
}

func (r *response) finished() (bool, error) {
	if r.got > r.body {
		return false, errResponse // nobody asked for more
	}
	return r.got == r.body, nil
}

var (
	crlfcrlf      = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
	retryAfter    = []byte("\r\nRetry-After: ")
	closes        = []byte("\r\nConnection: close")
	processed     = []byte(`{"status":"processed"`)
	duplicate     = []byte(`{"status":"duplicate"`)
)

func (r *response) parse(h []byte) error {
	const line = len("HTTP/1.1 200")
	if len(h) < line || string(h[:7]) != "HTTP/1." {
		return errResponse
	}
	status, err := strconv.Atoi(string(h[9:line]))
	if err != nil {
		return errResponse
	}
	r.status = status
	at := bytes.Index(h, contentLength)
	if at < 0 {
		return errResponse
	}
	for _, c := range h[at+len(contentLength):] {
		if c < '0' || c > '9' {
			break
		}
		r.body = r.body*10 + int(c-'0')
	}
	if status != 200 {
		r.retryAfter = bytes.Contains(h, retryAfter)
	}
	r.closing = bytes.Contains(h, closes)
	return nil
}

// start is the beginning of the body.
func (r *response) start() []byte { return r.buf[r.header:r.n] }
