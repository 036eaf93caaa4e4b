package reactor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/internal/fair"
)

// Supported is whether connections can be taken over on this platform.
const Supported = true

// Conn is a connection that was taken over. Only its writer, or a fetcher while
// away is set, uses it.
type Conn struct {
	source Source
	net    net.Conn     // below TLS
	kernel syscall.Conn // below everything
	raw    syscall.RawConn
	tls    *tls.Conn // nil: plain
	room   room      // of a TLS connection
	writer *writer

	// rest is what the kernel did not take of a frame that it took the beginning
	// of: all that is ever held back for one client.
	rest []byte
	end  string // with which the connection is closed once rest is gone

	slot, generation uint32    // where the poller finds it
	deadline         time.Time // of writes to a TLS connection
	inputs           int       // how often a TLS client's bytes were looked at
	looking          bool      // a fetcher is to look at them

	// Guarded by writer.mu.
	queued    bool
	away      bool // a fetcher has it
	again     bool // queued while away
	gone      bool // the client has left
	input     bool // a TLS client has sent something
	drop      string
	blockedAt int // index in writer.blocked, or -1
	blocked   time.Time
	finished  bool
}

// reactor is the writers and the poller of all connections. It lives while there
// are any; the next one after that starts another.
type reactor struct {
	writers []*writer
	epoll   int
	stop    int // eventfd

	mu         sync.Mutex
	conns      []*Conn // by slot
	free       []uint32
	generation uint32
	active     int

	blocked atomic.Int64

	fetch struct { // by whom connections are served where that may wait
		sync.Mutex
		queue    fair.Queue[*Conn] // in turn between groups
		fetchers int
	}
}

// shared is the reactor of the process.
var shared struct {
	sync.Mutex
	reactor *reactor
}

func current() *reactor {
	shared.Lock()
	defer shared.Unlock()
	return shared.reactor
}

// Active is how many connections were taken over and are open.
func Active() int {
	r := current()
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active
}

// Take makes the connection the reactor's, which closes it in the end. The source
// is asked at once for what there is to write. After an error the connection is
// still the caller's.
func Take(conn net.Conn, source Source) (*Conn, error) {
	c := &Conn{source: source, net: conn, blockedAt: -1}
	if t, ok := conn.(*tls.Conn); ok {
		c.tls, c.net = t, t.NetConn()
	}
	if c.kernel = kernelConn(c.net); !Takes(conn) {
		return nil, fmt.Errorf("a connection of type %T cannot be taken over", conn)
	}
	var err error
	if c.raw, err = c.kernel.SyscallConn(); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	if err := register(c); err != nil {
		return nil, err
	}
	return c, nil
}

func register(c *Conn) error {
	shared.Lock()
	defer shared.Unlock()
	if shared.reactor == nil {
		r, err := start()
		if err != nil {
			return err
		}
		shared.reactor = r
	}
	r := shared.reactor
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		c.slot, r.free = r.free[n-1], r.free[:n-1]
	} else {
		c.slot = uint32(len(r.conns))
		r.conns = append(r.conns, nil)
	}
	r.generation++
	c.generation = r.generation
	c.writer = r.writers[int(r.generation)%len(r.writers)]
	r.conns[c.slot] = c
	r.active++
	// Edge-triggered: told once when there is room again, or the client leaves.
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.slot), Pad: int32(c.generation)}
	if c.tls != nil {
		ev.Events |= unix.EPOLLIN // its end may come as a TLS alert
	}
	var ctl error
	if err := c.raw.Control(func(fd uintptr) { ctl = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, int(fd), &ev) }); err != nil || ctl != nil {
		r.remove(c)
		return errors.Join(err, ctl)
	}
	return nil
}

// start makes a reactor.
func start() (*reactor, error) {
	r := new(reactor)
	var err error
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if r.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(r.epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, r.stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		_ = unix.Close(r.epoll)
		_ = unix.Close(r.stop)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	r.writers = make([]*writer, runtime.GOMAXPROCS(0))
	for i := range r.writers {
		w := &writer{reactor: r}
		w.wake.L = &w.mu
		w.buffer.init()
		r.writers[i] = w
		go w.run()
	}
	go r.poll()
	return r, nil
}

// unregister takes a connection out; with the last one the reactor's goroutines
// end.
func (r *reactor) unregister(c *Conn) {
	shared.Lock()
	defer shared.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = c.raw.Control(func(fd uintptr) { _ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) })
	r.remove(c)
}

// remove is called with both locks held.
func (r *reactor) remove(c *Conn) {
	r.conns[c.slot] = nil
	r.free = append(r.free, c.slot)
	if r.active--; r.active > 0 {
		return
	}
	shared.reactor = nil
	one := [8]byte{1}
	_, _ = unix.Write(r.stop, one[:])
	for _, w := range r.writers {
		w.mu.Lock()
		w.quit = true
		w.mu.Unlock()
		w.wake.Signal()
	}
}

// poll hears from the kernel which clients left and which can be written to.
func (r *reactor) poll() {
	defer func() {
		_ = unix.Close(r.epoll)
		_ = unix.Close(r.stop)
	}()
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil && err != unix.EINTR { //nolint:errorlint // a bare errno
			return
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd < 0 {
				return
			}
			r.mu.Lock()
			var c *Conn
			if slot := int(ev.Fd); slot < len(r.conns) {
				c = r.conns[slot]
			}
			r.mu.Unlock()
			if c == nil || c.generation != uint32(ev.Pad) {
				continue // an event of one that has left
			}
			w := c.writer
			w.mu.Lock()
			c.gone = c.gone || ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
			c.input = c.input || ev.Events&unix.EPOLLIN != 0
			w.enqueue(c)
			w.mu.Unlock()
		}
	}
}
