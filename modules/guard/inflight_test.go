package guard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

var jsonType = http.Header{"Content-Type": {"application/json"}}

const narrow = `
	route {
		osa_guard {
			max_body 1MiB
			max_inflight 2MiB
		}
		@hold path /hold
		probe @hold hold
		probe echo
	}
	handle_errors {
		osa_error
	}`

// TestLargeBodyWaits: with one large body held there is no room for the last
// buffer of another; it waits, and is read once the first is done with. A small
// one finds room meanwhile.
func TestLargeBodyWaits(t *testing.T) {
	holding, held := make(chan struct{}), make(chan struct{})
	s := start(t, narrow)
	chaintest.Handle("hold", func(_ http.ResponseWriter, r *http.Request) error {
		if _, err := requestbody.Read(r); err != nil {
			return err
		}
		close(holding)
		<-held
		return nil
	})
	body := strings.Repeat("x", 1<<20)
	done := make(chan chaintest.Response, 2)
	go func() { done <- s.Send("POST", "/hold", jsonType, strings.NewReader(body)) }()
	<-holding
	go func() { done <- s.Send("POST", "/", jsonType, strings.NewReader(body)) }()
	small := strings.Repeat("x", admission.LargeBody)
	if r := s.Send("POST", "/", jsonType, strings.NewReader(small)); r.StatusCode != 200 || r.Body != small {
		t.Errorf("a small body: %d", r.StatusCode)
	}
	close(held)
	for range 2 {
		if r := <-done; r.StatusCode != 200 {
			t.Errorf("%d: %.200s", r.StatusCode, r.Body)
		}
	}
}

// TestLargeBodyIsRefused: who waits for room in vain is told when to come again.
func TestLargeBodyIsRefused(t *testing.T) {
	holding, held := make(chan struct{}), make(chan struct{})
	s := start(t, narrow)
	chaintest.Handle("hold", func(_ http.ResponseWriter, r *http.Request) error {
		if _, err := requestbody.Read(r); err != nil {
			return err
		}
		close(holding)
		<-held
		return nil
	})
	body := strings.Repeat("x", 1<<20)
	done := make(chan chaintest.Response)
	go func() { done <- s.Send("POST", "/hold", jsonType, strings.NewReader(body)) }()
	<-holding
	r := s.Send("POST", "/", jsonType, strings.NewReader(body))
	check(t, r, 503, "service_unavailable")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(held)
	if r := <-done; r.StatusCode != 200 {
		t.Errorf("%d: %.200s", r.StatusCode, r.Body)
	}
}

// TestReleaseBody: a body that its handler is done with makes room while the
// request goes on, and is not given out again.
func TestReleaseBody(t *testing.T) {
	holding, held := make(chan struct{}), make(chan struct{})
	s := start(t, narrow)
	chaintest.Handle("hold", func(w http.ResponseWriter, r *http.Request) error {
		if _, err := requestbody.Read(r); err != nil {
			return err
		}
		requestbody.Release(r)
		requestbody.Release(r)
		if _, err := requestbody.Read(r); err == nil {
			t.Error("a released body was given out")
		}
		if n, _ := r.Body.Read(make([]byte, 1)); n != 0 {
			t.Error("a released body was read")
		}
		close(holding)
		<-held
		return nil
	})
	body := strings.Repeat("x", 1<<20)
	done := make(chan chaintest.Response)
	go func() { done <- s.Send("POST", "/hold", jsonType, strings.NewReader(body)) }()
	<-holding
	if r := s.Send("POST", "/", jsonType, strings.NewReader(body)); r.StatusCode != 200 || r.Body != body {
		t.Errorf("%d: %.200s", r.StatusCode, r.Body)
	}
	close(held)
	if r := <-done; r.StatusCode != 200 {
		t.Errorf("%d: %.200s", r.StatusCode, r.Body)
	}
}

// TestReleaseSmallBody: with a small one it changes nothing.
func TestReleaseSmallBody(t *testing.T) {
	s := start(t, narrow)
	chaintest.Handle("hold", func(w http.ResponseWriter, r *http.Request) error {
		if _, err := requestbody.Read(r); err != nil {
			return err
		}
		requestbody.Release(r)
		body, err := requestbody.Read(r)
		if err == nil {
			_, err = w.Write(body)
		}
		return err
	})
	if r := s.Send("POST", "/hold", jsonType, strings.NewReader("{}")); r.Body != "{}" {
		t.Errorf("%d: %.200s", r.StatusCode, r.Body)
	}
}
