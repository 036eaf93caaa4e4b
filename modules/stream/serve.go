package stream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// farewellTimeout bounds a write once the process is exiting.
const farewellTimeout = time.Second

// buffers are lent to a stream for as long as one write takes, so that an idle
// stream holds none.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, responseBytes+1<<10)
	return &b
}}

func returnBuffer(b *[]byte) {
	if cap(*b) <= 2*replayBytes {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

var batches = sync.Pool{New: func() any { return new(hub.Batch) }}

// serve writes what the stream begins with and whatever else there is. Then it gives
// the stream up to another driver where it can, and else waits for its end.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, s *stream, first [][]byte) error {
	out := newResponse(w, r, s)
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	reactor.Tune(conn, s.timeout)
	s.watch(conn, r.ProtoMajor == 1)
	hijack := !h.KeepConnections && r.ProtoMajor == 1 && reactor.Takes(conn)

	s.opened()
	osa.SetStreamHeader(w.Header())
	if hijack && r.ProtoAtLeast(1, 1) {
		// The body is then not chunked and ends with the connection, which is
		// what goes on after net/http has let go of it.
		w.Header().Set("Transfer-Encoding", "identity")
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// A request for a stream has no use for a body. Without this net/http
		// reads it before it writes the first byte, and a client that announced
		// one and sends none has a stream that neither begins nor ends.
		w.Header().Set("Connection", "close")
		out.unread = true
	}
	w.WriteHeader(http.StatusOK)
	if !out.begin(first) {
		out.close()
		s.ended(out.end, out.err)
		return nil // the response has begun: there is nothing else to answer
	}
	if !h.KeepConnections && !buffered(w) {
		if hijack {
			out.close()
			return h.hijack(w, r, s)
		}
		if d := detachmentOf(r); d != nil {
			out.close()
			s.access = keepAccessLine(r, w.Header().Clone())
			s.detached.Store(true)
			d.s = s
			return nil
		}
	}
	out.follow()
	return nil
}

// hijack hands the stream's connection to the reactor.
func (h *Handler) hijack(w http.ResponseWriter, r *http.Request, s *stream) error {
	header := w.Header().Clone()
	header.Del("Transfer-Encoding") // meant for net/http, and not sent
	s.access = keepAccessLine(r, header)
	conn, err := takeConn(w)
	if err != nil {
		s.ended(endError, err)
		return nil
	}
	taken, err := reactor.Take(conn, source{s})
	if err != nil {
		_ = conn.Close()
		s.ended(endError, err)
		return nil
	}
	s.handOver(taken)
	return nil
}

// step writes what there is to write, if there is something.
func (out *response) step() (nothing bool, end string, err error) {
	s := out.s
	b := batches.Get().(*hub.Batch)
	defer returnBatch(b)
	control, end := s.control(nil)
	if end == "" {
		if control, end, err = s.fill(out.ctx, b, control); err != nil {
			if out.ctx.Err() != nil {
				return false, endClient, nil
			}
			return false, endError, err
		}
	}
	if len(control) == 0 && len(b.Frames) == 0 {
		return s.told.Load() == 0, end, nil
	}
	if err := out.write(control, b.Frames); err != nil {
		return false, failure(err), err
	}
	s.advance(b, len(b.Frames))
	s.wrote(0, b.Events)
	return false, end, nil
}

// write sends all of it at once.
func (out *response) write(control []byte, frames [][]byte) error {
	buf := buffers.Get().(*[]byte)
	defer returnBuffer(buf)
	b := (*buf)[:0]
	b = append(b, control...)
	for _, f := range frames {
		b = append(b, f...)
	}
	*buf = b

	timeout := out.s.timeout
	if out.s.leaving() {
		timeout = farewellTimeout
	}
	if err := out.ctrl.SetWriteDeadline(time.Now().Add(timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if out.s.leaving() { // told between the two lines above
		_ = out.ctrl.SetWriteDeadline(time.Now().Add(farewellTimeout))
	}
	if _, err := out.w.Write(b); err != nil {
		return err
	}
	out.s.wrote(len(b), 0)
	if err := out.ctrl.Flush(); err != nil {
		return err
	}
	// Between writes there is nothing to be late with.
	if err := out.ctrl.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// failure names why a write failed.
func failure(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return endTimeout
	}
	return endClient
}

// connKey is the request context's key of its connection.
type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// takeConn hijacks the connection below whatever wraps the writer, and thus as
// what it is.
func takeConn(w http.ResponseWriter) (net.Conn, error) {
	h, ok := osa.InnermostWriter(w).(http.Hijacker)
	if !ok {
		return nil, http.ErrNotSupported
	}
	conn, _, err := h.Hijack()
	return conn, err
}

// buffered tells whether something before this handler keeps the response back,
// to do something with it when the handler returns.
func buffered(w http.ResponseWriter) bool {
	for {
		if b, ok := w.(interface{ Buffered() bool }); ok && b.Buffered() {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}
