package connections

import (
	"net"

	"golang.org/x/sys/unix"
)

// unread reports whether the peer has sent data that was not read yet.
func unread(nc net.Conn) (yes bool) {
	if r, ok := rawConn(unwrap(nc)); ok {
		_ = r.Control(func(fd uintptr) {
			n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
			yes = err == nil && n > 0
		})
	}
	return yes
}
