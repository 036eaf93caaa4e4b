// Package reactor writes to many connections from few goroutines.
//
// A connection that was taken over from net/http, plain or TLS, has no goroutine
// of its own. One of the writers, of which there is one a processor, writes to it
// whenever its Source has something, and never waits for its client. An epoll
// instance says when there is room again and when a client leaves.
//
// It needs Linux; elsewhere Takes is always false.
package reactor

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// Ends that the reactor itself finds. A Source has others.
const (
	// EndGone: the client closed its side, or the connection failed.
	EndGone = "client_gone"
	// EndTimeout: the client took nothing for Source.Timeout.
	EndTimeout = "write_timeout"
	// EndError: the Source failed.
	EndError = "error"
)

// Source is what one connection is sent. Only one goroutine calls Next, Fetch,
// Sent and Ended at a time. Only Fetch may wait.
type Source interface {
	// Next fills the payload with what is to be written now, if anything.
	Next(*Payload)
	// Fetch is Next for what takes waiting. It is called where Next asked for it.
	Fetch(context.Context, *Payload)
	// Sent follows a Next or Fetch that gave anything: so many bytes were handed
	// to the kernel, and the first of so many frames with them.
	Sent(bytes, frames int)
	// Pending reports whether Next would give something. If not, Wake will be
	// called when it would.
	Pending() bool
	// Group is what sources take turns by where they wait for Fetch.
	Group() string
	// Timeout is how long the client may take nothing. It may be called at any time.
	Timeout() time.Duration
	// Ended is called once, last.
	Ended(end string, err error)
}

// Payload is what a Source gives for one write.
type Payload struct {
	// Head goes out first. The Source appends to it.
	Head []byte
	// Frames are sent whole: once the kernel has taken the beginning of one, the
	// rest of it follows. Those after it have to be given again.
	Frames [][]byte
	// Fetch has Fetch called once the head is written.
	Fetch bool
	// Again has Next called again once all is written.
	Again bool
	// End closes the connection with this reason once all is written.
	End string
	// Err closes it at once.
	Err error
}

func (p *Payload) reset(head []byte) { *p = Payload{Head: head[:0]} }

func (p *Payload) empty() bool { return len(p.Head) == 0 && len(p.Frames) == 0 }

// kernelConn is the kernel's own connection below conn: what can be read and
// written without whatever stands before it. It is nil where that would leave
// something out, or where nobody knows.
func kernelConn(conn net.Conn) syscall.Conn {
	switch c := conn.(type) {
	case *net.TCPConn:
		return c
	case *net.UnixConn:
		return c
	case interface{ TCPConn() (*net.TCPConn, bool) }:
		// Caddy's proxy_protocol, which only reads a header first.
		if tcp, ok := c.TCPConn(); ok {
			return tcp
		}
	}
	return nil
}

// TCPOf is the TCP connection below conn, or nil: below TLS and whatever else
// tells what it wraps. It is for socket options, not for writing.
func TCPOf(conn net.Conn) *net.TCPConn {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			tcp, _ := kernelConn(conn).(*net.TCPConn)
			return tcp
		}
		conn = outer.NetConn()
	}
}

// Takes reports whether a connection can be taken over: the kernel's own, or TLS
// over TCP.
func Takes(conn net.Conn) bool {
	if !Supported || conn == nil {
		return false
	}
	if t, ok := conn.(*tls.Conn); ok {
		_, ok := kernelConn(t.NetConn()).(*net.TCPConn)
		return ok
	}
	return kernelConn(conn) != nil
}

// Reset closes the connection at once and lets the kernel drop what it holds.
func Reset(conn net.Conn) {
	if tcp := TCPOf(conn); tcp != nil {
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // and not what stands before it, which may have a word to say
		return
	}
	_ = conn.Close()
}
