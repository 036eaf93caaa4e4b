//go:build linux

package hostile

import (
	"context"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A client that vanishes leaves the gateway with a connection whose other end
// neither answers nor acknowledges. Here a socket filter drops every segment that
// arrives: to the gateway it is as if the network had been cut.

// silence has the socket drop all that comes in.
func silence(conn net.Conn) error {
	raw, err := tcp(conn).SyscallConn()
	if err != nil {
		return err
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
	if err != nil {
		return err
	}
	return failed
}

func tcp(conn net.Conn) *net.TCPConn {
	if c, ok := conn.(*counted); ok {
		conn = c.Conn
	}
	return conn.(*net.TCPConn)
}

// holdSilent keeps a silent connection for longer than anybody should believe in
// it.
func (w *worker) holdSilent(ctx context.Context, conn net.Conn) {
	if err := silence(conn); err != nil {
		panic(err) // every Linux can
	}
	pause(ctx, 40*time.Second+time.Duration(w.rng.Int64N(int64(20*time.Second))))
}

// vanish goes away in the middle of whatever it was doing.
func vanish(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	text := ""
	switch w.rng.IntN(4) {
	case 0:
		text = "GET /api/hea"
	case 1:
		text = w.head("Content-Length: 2000") + `{"workflow`
	case 2:
		text = w.head("Content-Length: 9000000") + strings.Repeat(" ", 1_000_000)
	case 3: // an idle connection after a request
		text = "GET /api/health HTTP/1.1\r\nHost: " + w.Addr + "\r\n\r\n"
	}
	_, _ = io.WriteString(conn, text)
	w.holdSilent(ctx, conn)
}

// reset ends connections in the rudest way, with whatever is under way.
func reset(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	_ = tcp(conn).SetLinger(0)
	text := []string{
		"", "GET /api/hea", w.head("Content-Length: 100000") + strings.Repeat(" ", 50_000),
		"GET /api/health HTTP/1.1\r\nHost: " + w.Addr + "\r\n\r\n", w.head("Content-Length: 2") + "{}",
	}[w.rng.IntN(5)]
	_, _ = io.WriteString(conn, text)
}

// stuff sends a request again and again, and reads nothing.
func (w *worker) stuff(ctx context.Context, conn net.Conn, request string) {
	_ = tcp(conn).SetReadBuffer(4 << 10)
	for pause(ctx, 20*time.Millisecond) {
		// In the end neither side goes on: it is held until the gateway has had enough.
		if _, err := io.WriteString(conn, request); err != nil {
			w.cutOff(ctx)
			return
		}
	}
}
