package connections

import (
	"net"
	"syscall"
)

// unwrap returns the connection below TLS and other wrappers.
func unwrap(nc net.Conn) net.Conn {
	for {
		switch outer := nc.(type) {
		case interface{ NetConn() net.Conn }:
			nc = outer.NetConn()
		case interface{ TCPConn() (*net.TCPConn, bool) }: // Caddy's proxy_protocol.
			tcp, ok := outer.TCPConn()
			if !ok {
				return nc
			}
			return tcp
		default:
			return nc
		}
	}
}

func rawConn(nc net.Conn) (syscall.RawConn, bool) {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return nil, false
	}
	r, err := c.SyscallConn()
	return r, err == nil
}

// isOpen reports whether a connection is open.
func isOpen(nc net.Conn) bool {
	r, ok := rawConn(nc)
	return ok && r.Control(func(uintptr) {}) == nil
}

// aboveLimit reports whether the connection's descriptor is above the highest
// permitted number; 0 means any.
func aboveLimit(nc net.Conn, highest int) (yes bool) {
	if highest == 0 {
		return false
	}
	if r, ok := rawConn(unwrap(nc)); ok {
		_ = r.Control(func(fd uintptr) { yes = fd > uintptr(highest) }) //nolint:gosec // positive
	}
	return yes
}
