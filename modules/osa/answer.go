package osa

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// answerStall is how long a reader of an answer may take nothing of it.
	answerStall = 10 * time.Second
	// answerPart is what a reader has to take within answerStall.
	answerPart = 32 << 10
	// answerRate is how many bytes a second a reader has to take of an answer that
	// is held whole, beside answerStall.
	answerRate = 64 << 10
)

// Answer writes an answer whose reader has a deadline for each part of it: what waits
// for a reader takes memory. Use is Begin, Write as often as needed, End.
type Answer struct {
	w     http.ResponseWriter
	ctrl  *http.ResponseController
	begun bool
	last  time.Time // when all of it has to be written; zero: whenever
}

// NewAnswer returns an answer that has not begun.
func NewAnswer(w http.ResponseWriter) *Answer {
	return &Answer{w: w, ctrl: http.NewResponseController(w)}
}

// Begin writes the header of an answer in JSON, once; length is that of the answer in
// bytes, or -1 where it is not known.
func (a *Answer) Begin(status, length int) {
	if a.begun {
		return
	}
	a.begun = true
	h := a.w.Header()
	if h["Content-Type"] == nil {
		h["Content-Type"] = []string{"application/json"}
	}
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-store"}
	}
	if length >= 0 {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	a.w.WriteHeader(status)
}

// Write writes a part of the body. An error means that the reader has left, or takes
// nothing.
func (a *Answer) Write(b []byte) (n int, err error) {
	for n < len(b) {
		deadline := time.Now().Add(answerStall)
		if !a.last.IsZero() && a.last.Before(deadline) {
			deadline = a.last
		}
		if err := a.ctrl.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return n, err
		}
		wrote, err := a.w.Write(b[n:min(len(b), n+answerPart)])
		if n += wrote; err != nil {
			return n, err
		}
	}
	return n, nil
}

// End sends what is buffered, within the deadline of the last part, and lifts the
// deadline: the connection may have other requests to come.
func (a *Answer) End() {
	_ = a.ctrl.Flush()
	_ = a.ctrl.SetWriteDeadline(time.Time{})
}

// WriteJSON answers with a body that is encoded already and is held until its reader
// has taken it, or has been too slow. Who has left needs no answer, so there is no
// error.
func WriteJSON(w http.ResponseWriter, status int, body []byte) {
	a := NewAnswer(w)
	a.last = time.Now().Add(answerStall + time.Duration(len(body))*time.Second/answerRate)
	a.Begin(status, len(body))
	_, _ = a.Write(body)
	a.End()
}
