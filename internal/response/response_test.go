package response_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
)

// recorder records the write deadlines that it is given.
type recorder struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	writes    []int
	err       error
}

func (r *recorder) SetWriteDeadline(t time.Time) error {
	r.deadlines = append(r.deadlines, t)
	return nil
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.writes = append(r.writes, len(b))
	return r.ResponseRecorder.Write(b)
}

func newRecorder() *recorder { return &recorder{ResponseRecorder: httptest.NewRecorder()} }

func TestWriterDeadlines(t *testing.T) {
	w := newRecorder()
	body := []byte(strings.Repeat("x", 100<<10))
	out := response.NewWriter(w)
	out.Begin(http.StatusOK, len(body))
	out.Begin(http.StatusTeapot, 1)
	if n, err := out.Write(body); n != len(body) || err != nil {
		t.Fatal(n, err)
	}
	out.End()
	if w.Code != http.StatusOK || w.Header().Get("Content-Length") != "102400" || w.Body.Len() != len(body) {
		t.Errorf("%d, %v, %d bytes", w.Code, w.Header(), w.Body.Len())
	}
	if len(w.writes) != 4 {
		t.Errorf("parts of %v bytes", w.writes)
	}
	if n := len(w.deadlines); n != len(w.writes)+1 || !w.deadlines[n-1].IsZero() {
		t.Errorf("deadlines %v, want one for each part and none at the end", w.deadlines)
	}
}

func TestWriterError(t *testing.T) {
	w := newRecorder()
	w.err = errors.New("the client has left")
	out := response.NewWriter(w)
	out.Begin(http.StatusOK, -1)
	if _, err := out.Write([]byte("x")); !errors.Is(err, w.err) {
		t.Error(err)
	}
	if w.Header()["Content-Length"] != nil {
		t.Error("a length that is not known was sent")
	}
	response.Write(w, http.StatusOK, []byte("x")) // returns all the same
}

func TestJSON(t *testing.T) {
	w := newRecorder()
	w.Header().Set("Content-Type", "application/problem+json")
	if err := response.JSON(w, http.StatusAccepted, map[string]any{"a": "<b> & c"}); err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != `{"a":"<b> & c"}`+"\n" || w.Code != http.StatusAccepted {
		t.Errorf("%d %q", w.Code, got)
	}
	if h := w.Header(); h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", h)
	}
	err := response.JSON(newRecorder(), http.StatusOK, func() {})
	if e, ok := errors.AsType[*httperror.Error](err); !ok || e.Status != http.StatusInternalServerError {
		t.Errorf("what cannot be encoded: %v", err)
	}
}

func TestWriteSmall(t *testing.T) {
	w := newRecorder()
	response.WriteSmall(w, http.StatusCreated, []byte(`{}`))
	h := w.Header()
	if w.Code != http.StatusCreated || w.Body.String() != `{}` || h.Get("Content-Length") != "2" ||
		h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %q", w.Code, h, w.Body)
	}
	if w.deadlines != nil {
		t.Error("a small response has a deadline")
	}
	// Middleware may append to headers.
	h.Add("Content-Type", "x")
	if h.Get("Cache-Control") != "no-store" {
		t.Error("headers share memory")
	}
}
