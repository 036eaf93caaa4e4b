package stream

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// minSilence is how long a peer may leave what it was sent unacknowledged, at
	// the least.
	minSilence = 20 * time.Second
	// unsentBytes bounds what the kernel holds of a stream beyond what is on its
	// way. Without it that is megabytes for a client that reads slowly, and the
	// kernel says that there is room only when a third of it is gone: a client
	// that takes less than that in a write timeout, but takes it all the time,
	// would be closed.
	unsentBytes = 128 << 10
)

// tune prepares a connection for a stream. A peer that went without a word takes
// whatever fits into the kernel's buffers: little goes to an idle stream, so that
// would be hours.
func tune(conn net.Conn, timeout time.Duration) {
	tcp, ok := below(conn).(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	silence := max(2*timeout, minSilence)
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
	})
}
