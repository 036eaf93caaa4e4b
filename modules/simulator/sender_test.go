package simulator

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/signature"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Tries go on over a restart of the gateway, each with a fresh signature, and end
// some time.
func TestSendTriesAgain(t *testing.T) {
	tests := map[string]struct {
		answer func(try int) (int, error)
		tries  int
		fails  bool
	}{
		"connection refused": {func(int) (int, error) { return 0, errors.New("refused") }, sendTries, true},
		"away, then back": {func(try int) (int, error) {
			if try < 6 {
				return 0, errors.New("reset")
			}
			return 200, nil
		}, 6, false},
		"busy":     {func(int) (int, error) { return 429, nil }, sendTries, true},
		"refused":  {func(int) (int, error) { return 400, nil }, 1, true},
		"redirect": {func(int) (int, error) { return 307, nil }, 1, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSender()
				signatures := make(map[string]bool)
				tries, begin := 0, time.Now()
				s.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
					tries++
					signatures[r.Header.Get(signature.HeaderSignature)] = true
					status, err := tt.answer(tries)
					if err != nil {
						return nil, err
					}
					w := httptest.NewRecorder()
					w.Header().Set("Location", "http://elsewhere.test/")
					w.WriteHeader(status)
					return w.Result(), nil
				})
				err := s.send(context.Background(), "http://gateway.test/", testSecret, "", []byte(`{}`))
				if tries != tt.tries || (err != nil) != tt.fails {
					t.Errorf("%d tries, %v", tries, err)
				}
				if tt.tries == sendTries && (time.Since(begin) < 5*time.Second || time.Since(begin) > time.Minute || len(signatures) < 3) {
					t.Errorf("gave up after %v and %d signatures", time.Since(begin), len(signatures))
				}
			})
		})
	}
}
