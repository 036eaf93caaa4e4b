package reactor

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTune: a peer that is gone without a word is given up. It takes a network
// that loses packets to see it happen, so this looks at what the kernel was told;
// that it is told at all shows in TestSlowButSteady.
func TestTune(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(c net.Conn) net.Conn { return c },
		"TLS":   func(c net.Conn) net.Conn { return tls.Server(c, nil) },
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for timeout, want := range map[time.Duration]int{25 * time.Second: 50_000, time.Second: 20_000} {
			Tune(wrap(conn), timeout)
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) {
				silence, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
				if err != nil || silence != want {
					t.Errorf("%s: silence of %d ms, want %d, %v", name, silence, want, err)
				}
				unsent, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
				if err != nil || unsent != unsentBytes {
					t.Errorf("%s: %d bytes unsent, %v", name, unsent, err)
				}
				rto, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS)
				if !errors.Is(err, unix.ENOPROTOOPT) && (err != nil || rto != int(maxRTO.Milliseconds())) {
					t.Errorf("%s: sent again after %d ms at most, %v", name, rto, err)
				}
			})
		}
	}
	Tune(nil, time.Second) // HTTP/3 has no such connection
}
