package stream

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// response writes a stream through net/http: any version of HTTP, with a deadline
// for each write.
//
// Between two writes nothing runs but the goroutine that waits for the end. What
// there is to write is written by a goroutine that lasts for as long as there is
// something, so that what a write takes of a stack is not held meanwhile.
type response struct {
	s    *stream
	ctx  context.Context // of the request
	w    http.ResponseWriter
	ctrl *http.ResponseController
	// conn sets deadlines below Caddy's idle timeouts, which may not be touched
	// from another goroutine.
	conn *http.ResponseController
	undo func()
	late *time.Timer // set by cut

	unread bool // the request's body

	state atomic.Uint32
	done  chan struct{} // closed when the stream has ended
	end   string
	err   error
}

// The states of a response.
const (
	idle    uint32 = iota // nothing to write
	writing               // a goroutine writes
	woken                 // it looks again before it goes
	ended
)

// newResponse is the response of a handler.
func newResponse(w http.ResponseWriter, r *http.Request, s *stream) *response {
	out := &response{s: s, ctx: r.Context(), w: w, ctrl: http.NewResponseController(w), undo: func() {}, done: make(chan struct{})}
	out.conn = out.ctrl
	reader, writer := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if reader != nil {
		// A server's read_timeout and write_timeout bound a whole exchange, and
		// a stream has no end to be bounded by.
		reader.Deadline.HardDeadline = time.Time{}
		_ = reader.Ctrl.SetReadDeadline(time.Time{})
	}
	if writer != nil {
		writer.Deadline.HardDeadline = time.Time{}
		out.undo = writer.Override(s.timeout, 0, 0)
		out.conn = writer.Ctrl
	}
	conn, ok := r.Context().Value(connKey{}).(net.Conn)
	if !ok || r.ProtoMajor != 1 || r.TLS == nil {
		conn = nil
	}
	out.drive(conn)
	return out
}

// drive makes the response the stream's driver. closing is a connection that takes long to close, or nil.
func (out *response) drive(closing net.Conn) {
	out.state.Store(writing)
	out.s.setWake(out.wake)
	out.s.setCut(func() {
		_ = out.conn.SetWriteDeadline(time.Now().Add(farewellTimeout))
		if closing != nil {
			// net/http closes a connection whose write failed in good order, which
			// with TLS is another wait of five seconds.
			out.late = time.AfterFunc(farewellTimeout+100*time.Millisecond, func() { reactor.Reset(closing) })
		}
	})
}

// close ends the response's part in the stream.
func (out *response) close() {
	out.state.Store(ended)
	out.s.setWake(func() {})
	out.s.setCut(nil)
	if out.late != nil {
		out.late.Stop()
	}
	out.undo()
	if out.unread {
		// net/http reads it now, for no longer than this.
		_ = out.ctrl.SetReadDeadline(time.Now().Add(farewellTimeout))
	}
}

// begin writes what the stream begins with and what has come since. It reports
// whether the stream goes on, to be followed or handed over.
func (out *response) begin(first [][]byte) bool {
	for len(first) > 0 {
		n, size := 0, 0
		for n < len(first) && size < responseBytes {
			size += len(first[n])
			n++
		}
		if err := out.write(nil, first[:n]); err != nil {
			return out.over(failure(err), err)
		}
		first = first[n:]
	}
	out.s.letGo()
	out.s.wrote(0, out.s.history)
	return out.flush()
}

// flush writes until there is nothing to write. It reports whether the stream goes on.
func (out *response) flush() bool {
	for {
		if out.ctx.Err() != nil {
			return out.over(endClient, nil)
		}
		nothing, end, err := out.step()
		if err != nil || end != "" {
			return out.over(end, err)
		}
		if nothing {
			return true
		}
	}
}

func (out *response) over(end string, err error) bool {
	if dropped := out.s.dropped(); dropped != "" {
		end = dropped
	}
	out.end, out.err = end, err
	return false
}

// follow drives a stream that has begun until it ends.
func (out *response) follow() {
	go out.work()
	select {
	case <-out.done:
	case <-out.ctx.Done():
		out.wake()
		<-out.done // and not before whoever writes has noticed
	}
	out.close()
	out.s.ended(out.end, out.err)
}

// work writes until there is nothing to write or the stream has ended.
func (out *response) work() {
	for out.flush() {
		if out.state.CompareAndSwap(writing, idle) {
			return
		}
		out.state.Store(writing)
	}
	out.state.Store(ended)
	close(out.done)
}

// wake has what there is to write written. It does not block.
func (out *response) wake() {
	for {
		switch out.state.Load() {
		case idle:
			if out.state.CompareAndSwap(idle, writing) {
				go out.work()
				return
			}
		case writing:
			if out.state.CompareAndSwap(writing, woken) {
				return
			}
		default:
			return
		}
	}
}
