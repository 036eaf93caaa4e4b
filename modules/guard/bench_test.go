package guard_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/guard"
)

func BenchmarkGuard(b *testing.B) {
	g := new(guard.Guard)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	if err := errors.Join(g.Provision(ctx), g.Validate()); err != nil {
		b.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for _, size := range []int{0, 1024, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			body := bytes.Repeat([]byte("x"), size)
			req, _ := http.NewRequestWithContext(b.Context(), "POST", "/", http.NoBody)
			req.Header.Set("Content-Type", "application/json")
			req = caddyhttp.PrepareRequest(req, caddy.NewReplacer(), discard{}, new(caddyhttp.Server))
			rd := bytes.NewReader(body)
			w := discard{}
			b.ReportAllocs()
			for b.Loop() {
				rd.Reset(body)
				req.Body, req.ContentLength = io.NopCloser(rd), int64(size)
				delete(req.Header, "X-Request-Id")
				if err := g.ServeHTTP(w, req, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard map[string][]string

func (d discard) Header() http.Header { return http.Header(d) }

func (d discard) Write(b []byte) (int, error) { return len(b), nil }

func (d discard) WriteHeader(int) {}
