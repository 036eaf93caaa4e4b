package reactor

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// minSilence is how long the kernel lets a peer leave what it was sent
	// unacknowledged, at the least.
	minSilence = 20 * time.Second
	// unsentBytes bounds what the kernel holds of a stream beyond what is on its
	// way. Without it that is megabytes for a client that reads slowly, and the
	// kernel says that there is room only when a third of it is gone: a client
	// that takes less than that in a write timeout, but takes it all the time,
	// would be closed.
	unsentBytes = 128 << 10
	// maxRTO bounds how long the kernel waits before it sends again what a peer has
	// not acknowledged. By default the wait doubles each time, so that a peer that
	// was away for 13 s is sent nothing for 13 s more.
	maxRTO = 3 * time.Second
)

// Tune prepares a connection for a stream. The kernel gives a peer up that has
// acknowledged nothing for twice the timeout: a stream ends before that (see
// Silence), but a connection may have none any more.
func Tune(conn net.Conn, timeout time.Duration) {
	tcp := TCPOf(conn)
	if tcp == nil {
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
		// Linux has this since 6.15. Where it is unknown, the default holds.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, int(maxRTO.Milliseconds()))
	})
}

// Silence tells for how long a peer has acknowledged nothing of what it was sent.
type Silence struct {
	raw syscall.RawConn

	mu           sync.Mutex
	since        time.Time
	acknowledged uint64 // bytes, at since
}

// NewSilence is nil where nobody can tell: conn is not TCP.
func NewSilence(conn net.Conn) *Silence {
	tcp := TCPOf(conn)
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &Silence{raw: raw}
}

// Since is since when the peer has acknowledged nothing although something waits
// for it, as far as calls of this have seen; zero where nothing waits.
func (s *Silence) Since(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, acknowledged := s.ask()
	switch {
	case !waiting:
		s.since = time.Time{}
	case s.since.IsZero() || acknowledged != s.acknowledged:
		s.since, s.acknowledged = now, acknowledged
	}
	return s.since
}

func (s *Silence) ask() (waiting bool, acknowledged uint64) {
	_ = s.raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if err != nil || n == 0 {
			return
		}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			waiting, acknowledged = true, info.Bytes_acked
		}
	})
	return waiting, acknowledged
}
