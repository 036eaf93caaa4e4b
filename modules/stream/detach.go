package stream

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
)

// An HTTP/2 response lasts until its handler returns. A handler that waits below
// Caddy's chain of handlers holds the stack of that chain, and everything that Caddy
// keeps of the request. That is several times what a stream needs. So the chain of a
// request for a stream runs on another goroutine and returns when the stream is live.
// The outermost handler then waits for the end of the stream, on a small stack.

// detachable is a Caddy server's ConnContext: it makes a detacher the server's
// outermost handler. That happens before the server serves its first connection, so
// that no request reads the handler meanwhile.
func detachable(ctx context.Context, _ net.Conn) context.Context {
	if server, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
		detachers.Lock()
		defer detachers.Unlock()
		if _, ok := server.Handler.(*detacher); !ok && server.Handler != nil {
			server.Handler = &detacher{server.Handler}
		}
	}
	return ctx
}

// detachers orders the accesses to the handlers of servers with several listeners.
var detachers sync.Mutex

// detacher lets the handlers below it return before the response has ended.
type detacher struct{ next http.Handler }

// detachment is where such a handler leaves the stream.
type detachment struct{ s *stream }

type detachmentKey struct{}

// detachmentOf is the request's detachment, or nil where its handler has to stay.
func detachmentOf(r *http.Request) *detachment {
	d, _ := r.Context().Value(detachmentKey{}).(*detachment)
	return d
}

// ServeHTTP implements http.Handler.
func (d *detacher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		d.next.ServeHTTP(w, r)
		return
	}
	left := new(detachment)
	if panicked := d.below(w, r, left); panicked != nil {
		panic(panicked)
	}
	if left.s != nil {
		detached(r.Context(), w, left.s).follow()
	}
}

// below runs the handlers below on another goroutine and returns what they panicked
// with, which is net/http's to handle.
func (d *detacher) below(w http.ResponseWriter, r *http.Request, left *detachment) any {
	returned := make(chan any)
	go func() {
		defer func() { returned <- recover() }()
		d.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), detachmentKey{}, left)))
	}()
	return <-returned
}

// detached is the response of a stream whose handler has returned.
func detached(ctx context.Context, w http.ResponseWriter, s *stream) *response {
	ctrl := http.NewResponseController(w)
	out := &response{s: s, ctx: ctx, w: w, ctrl: ctrl, conn: ctrl, undo: func() {}, done: make(chan struct{})}
	out.drive(nil)
	return out
}
