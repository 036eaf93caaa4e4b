package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Run sends requests. One thread does everything with epoll: the generator has
// to be far cheaper than what it measures, on the same cores.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Connections < 1 {
		return nil, errors.New("load: at least one connection is needed")
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	addr, err := net.ResolveTCPAddr("tcp", o.Target.Address)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	r := &runner{o: o, addr: sockaddr(addr), result: newResult()}
	defer r.close()
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	select {
	case <-time.After(o.Pause):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	runtime.LockOSThread() // what the thread uses is what the generator uses
	defer runtime.UnlockOSThread()
	before := threadCPU()
	err = r.loop(ctx)
	r.result.GeneratorCPU = threadCPU() - before
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return r.result, nil
}

type connection struct {
	fd    int
	index int
	busy  bool
	due   time.Time // when the request under way should have been sent
	sent  time.Time // when it was
	rest  []byte    // of the request, not yet taken by the socket
	live  []byte    // room for Source
	resp  response
}

// timerIndex stands for the timer among the connections.
const timerIndex = -1

type runner struct {
	o      Options
	addr   unix.Sockaddr
	epoll  int
	timer  int
	conns  []*connection
	idle   []*connection
	result *Result

	begin  time.Time
	last   time.Time // of the last answer
	issued int
	ended  bool // nothing more is to be sent
}

func (r *runner) open() (err error) {
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if r.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, r.timer, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: timerIndex}); err != nil {
		return err
	}
	for i := range r.o.Connections {
		c := &connection{fd: -1, index: i}
		r.conns = append(r.conns, c)
		if err := r.connect(c); err != nil {
			return fmt.Errorf("connecting to %s: %w", r.o.Target.Address, err)
		}
	}
	for i := len(r.conns) - 1; i >= 0; i-- {
		r.idle = append(r.idle, r.conns[i])
	}
	return nil
}

func (r *runner) close() {
	for _, c := range r.conns {
		if c.fd >= 0 {
			_ = unix.Close(c.fd)
		}
	}
	for _, fd := range []int{r.timer, r.epoll} {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
}

// connect blocks; connections are made before the run and after a failure.
func (r *runner) connect(c *connection) error {
	family := unix.AF_INET
	if _, six := r.addr.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for err = unix.Connect(fd, r.addr); err == unix.EINTR; err = unix.Connect(fd, r.addr) {
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(c.index)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.fd = fd
	return nil
}

func (r *runner) loop(ctx context.Context) error {
	events := make([]unix.EpollEvent, 256)
	r.begin = time.Now()
	r.last = r.begin
	var giveUp time.Time
	for turn := 0; ; turn++ {
		now := time.Now()
		if turn%64 == 0 && ctx.Err() != nil || r.o.Duration > 0 && now.Sub(r.begin) >= r.o.Duration {
			r.ended = true
		}
		wait := r.dispatch(now)
		if r.ended {
			if len(r.idle) == len(r.conns) {
				break
			}
			if giveUp.IsZero() {
				giveUp = now.Add(r.o.Patience)
			}
			if now.After(giveUp) {
				break
			}
			wait = 100
		}
		n, err := unix.EpollWait(r.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return err
		}
		for i := range max(0, n) {
			if events[i].Fd == timerIndex {
				_, _ = unix.Read(r.timer, make([]byte, 8))
				continue
			}
			r.serve(r.conns[events[i].Fd], events[i].Events)
		}
	}
	r.result.Unanswered = len(r.conns) - len(r.idle)
	if r.o.Rate > 0 && r.o.Duration > 0 {
		r.result.Unsent = max(0, int(r.o.Rate*r.o.Duration.Seconds())-r.issued)
	}
	r.result.Elapsed = r.last.Sub(r.begin)
	return nil
}

// dispatch sends what is due on idle connections and returns how long to wait,
// in milliseconds.
func (r *runner) dispatch(now time.Time) int {
	for !r.ended && len(r.idle) > 0 {
		due := now
		if r.o.Rate > 0 {
			due = r.begin.Add(time.Duration(float64(r.issued) / r.o.Rate * float64(time.Second)))
			if ahead := due.Sub(now); ahead > 0 {
				return r.sleep(ahead)
			}
		}
		if r.o.Requests > 0 && r.issued == r.o.Requests {
			r.ended = true
			break
		}
		c := r.idle[len(r.idle)-1]
		request := r.o.Source.Next(c.live)
		if request == nil {
			r.ended = true
			break
		}
		if _, live := r.o.Source.(*Live); live {
			c.live = request
		}
		r.idle = r.idle[:len(r.idle)-1]
		r.issued++
		c.busy, c.due, c.sent, c.rest = true, due, time.Now(), request
		r.send(c)
	}
	return 100
}

// sleep arms the timer for the next request: epoll's own timeout is in
// milliseconds, which is late for the one and a core's worth of spinning for the
// other. What is due in a moment is worth a busy wait.
func (r *runner) sleep(d time.Duration) int {
	const moment = 20 * time.Microsecond
	if d < moment {
		return 0
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec((d - moment/2).Nanoseconds())}
	if err := unix.TimerfdSettime(r.timer, 0, &at, nil); err != nil {
		return 0
	}
	return 100
}

func (r *runner) send(c *connection) {
	for len(c.rest) > 0 {
		n, err := unix.Write(c.fd, c.rest)
		switch err {
		case nil:
			c.rest = c.rest[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			r.watch(c, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLOUT)
			return
		default:
			r.broken(c, err)
			return
		}
	}
}

func (r *runner) watch(c *connection, events uint32) {
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.index)}); err != nil {
		r.broken(c, err)
	}
}

func (r *runner) serve(c *connection, events uint32) {
	if events&unix.EPOLLOUT != 0 && c.busy {
		r.watch(c, unix.EPOLLIN|unix.EPOLLRDHUP)
		r.send(c)
	}
	if events&^unix.EPOLLOUT == 0 || c.fd < 0 {
		return
	}
	n, err := unix.Read(c.fd, c.resp.room())
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		r.broken(c, err)
		return
	case n == 0:
		r.broken(c, errors.New("the server closed the connection"))
		return
	case !c.busy:
		r.broken(c, errResponse)
		return
	}
	done, err := c.resp.took(n)
	if err != nil {
		r.broken(c, err)
		return
	}
	if done {
		r.last = time.Now()
		r.result.record(&c.resp, r.last.Sub(c.due), r.last.Sub(c.sent))
		closing := c.resp.closing
		c.busy = false
		c.resp.reset()
		r.idle = append(r.idle, c)
		if closing {
			r.reconnect(c)
		}
	}
}

// broken counts a connection's failure and makes another. An idle connection
// that the server closed in order is no failure.
func (r *runner) broken(c *connection, err error) {
	if c.busy {
		r.result.Errors++
		if r.result.FirstError == "" {
			r.result.FirstError = err.Error()
		}
		c.busy = false
		r.idle = append(r.idle, c)
	}
	c.rest = nil
	c.resp.reset()
	r.reconnect(c)
}

func (r *runner) reconnect(c *connection) {
	_ = unix.Close(c.fd)
	c.fd = -1
	if err := r.connect(c); err == nil {
		return
	} else if r.result.FirstError == "" {
		r.result.FirstError = err.Error()
	}
	// Nobody listens any more: the run is over.
	r.result.Errors++
	r.ended = true
}

func sockaddr(a *net.TCPAddr) unix.Sockaddr {
	if ip := a.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

func threadCPU() time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
