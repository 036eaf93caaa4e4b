package requestbody

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

// TestNextBuffer: buffers grow, stay within the limit and end at the announced size.
func TestNextBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 32<<20).Draw(t, "limit")
		announced := rapid.Int64Range(-1, limit).Draw(t, "announced")
		if announced == 0 {
			announced = -1
		}
		end := limit
		if announced > 0 {
			end = announced
		}
		have, steps := int64(0), 0
		for have < end {
			size, whole := nextBuffer(have, announced, limit)
			if size <= have || size > end || whole < size || whole > end {
				t.Fatalf("after %d of %d, limit %d: %d of %d", have, announced, limit, size, whole)
			}
			have = size
			if steps++; steps > 32 {
				t.Fatal("too many steps")
			}
		}
	})
}

func request(body io.Reader, length int64) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = length
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, make(map[string]any)))
}

// TestRead: whatever the size and however the body arrives, it is read whole and can be
// read again.
func TestRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := bytes.Repeat([]byte("ab"), rapid.IntRange(0, 100<<10).Draw(t, "half"))
		length := int64(-1)
		if rapid.Bool().Draw(t, "announced") {
			length = int64(len(want))
		}
		parts := rapid.IntRange(1, 64<<10).Draw(t, "parts")
		r := request(&slowReader{want, parts}, length)
		for range 2 {
			got, err := Read(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
			}
		}
		if again, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(again, want) {
			t.Fatalf("r.Body has %d bytes, %v", len(again), err)
		}
	})
}

// slowReader returns at most so many bytes at once.
type slowReader struct {
	rest []byte
	most int
}

func (s *slowReader) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.most)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func status(err error) int {
	if e, ok := errors.AsType[*httperror.Error](err); ok {
		return e.Status
	}
	return 0
}

func TestLimits(t *testing.T) {
	limits := NewLimits(10, 1<<20, 1, time.Minute)
	for name, tt := range map[string]struct {
		body   string
		length int64
		status int
	}{
		"the largest":            {strings.Repeat("x", 10), 10, 0},
		"the largest, in chunks": {strings.Repeat("x", 10), -1, 0},
		"larger":                 {strings.Repeat("x", 11), 11, 413},
		"larger, in chunks":      {strings.Repeat("x", 11), -1, 413},
		"shorter than announced": {"x", 5, 400},
	} {
		t.Run(name, func(t *testing.T) {
			for _, whole := range []bool{true, false} {
				r := request(io.NopCloser(strings.NewReader(tt.body)), tt.length)
				b := new(Body)
				b.Begin(httptest.NewRecorder(), r, limits)
				var err error
				if whole {
					_, err = Read(r)
				} else {
					_, err = io.ReadAll(r.Body)
				}
				if status(err) != tt.status && (tt.status != 400 || whole) {
					t.Errorf("whole %v: %v, want %d", whole, err, tt.status)
				}
				b.Finish()
			}
			err := limits.CheckLength(request(http.NoBody, tt.length))
			if want := tt.length > 10; (status(err) == 413) != want {
				t.Errorf("Content-Length %d: %v", tt.length, err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	refused := errors.New("refused")
	r := request(io.NopCloser(strings.NewReader("{}")), 2)
	b := new(Body)
	b.Begin(httptest.NewRecorder(), r, defaultLimits())
	defer b.Finish()
	b.Check(func(body []byte) error {
		if string(body) != "{}" {
			t.Errorf("checks %q", body)
		}
		return refused
	})
	for range 2 {
		if _, err := Read(r); !errors.Is(err, refused) {
			t.Error(err)
		}
	}
}

func TestExists(t *testing.T) {
	for want, r := range map[bool]*http.Request{true: request(strings.NewReader("x"), 1), false: request(http.NoBody, 0)} {
		if Exists(r) != want {
			t.Errorf("want %v", want)
		}
	}
	r := request(strings.NewReader("x"), -1)
	if r.Method = http.MethodConnect; Exists(r) {
		t.Error("a tunnel has a body")
	}
	if body, err := Read(request(http.NoBody, 0)); len(body) != 0 || body == nil || err != nil {
		t.Error(body, err)
	}
}
