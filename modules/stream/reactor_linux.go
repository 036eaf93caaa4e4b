package stream

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/fair"
)

// takeoverSupported: connections can be taken over on this platform.
const takeoverSupported = true

// takenStream is a stream whose connection was taken over from net/http. It has no
// goroutine: one of the reactor's writers serves it whenever there is something to
// write, and never waits for its client. Only one of them, or of the log's readers, touches it
// at a time.
type takenStream struct {
	*stream
	conn net.Conn
	raw  syscall.RawConn
	home *writer

	// rest is what the kernel did not take of a frame that it took the beginning
	// of: all that is ever held back for one client.
	rest []byte
	end  string // with which the stream is over once rest is gone

	slot, turn uint32 // where the poller finds it

	// Guarded by home.mu.
	queued   bool
	away     bool // the log is being read for it
	again    bool // queued while away
	gone     bool // the client has left
	late     bool // the client takes nothing
	stuckAt  int  // index in home.stuck, or -1
	blocked  time.Time
	finished bool
}

// reactor is the writers and the poller of all taken. It lives while there are
// any; the next one after that starts another.
type reactor struct {
	writers []*writer
	epoll   int
	stop    int // eventfd

	mu     sync.Mutex
	taken  []*takenStream // by slot
	free   []uint32
	turn   uint32
	active int

	stuck atomic.Int64

	log struct { // who reads the log for taken that are behind
		sync.Mutex
		queue   fair.Queue[*takenStream] // in turn between workspaces
		readers int
	}
}

// shared is the reactor of the process.
var shared struct {
	sync.Mutex
	reactor *reactor
}

func currentReactor() *reactor {
	shared.Lock()
	defer shared.Unlock()
	return shared.reactor
}

// writer writes to its share of the taken.
type writer struct {
	reactor *reactor
	mu      sync.Mutex
	wake    sync.Cond
	ready   []*takenStream
	stuck   []*takenStream // whose kernel buffers are full
	quit    bool
	pen     pen
}

// pen is what is needed to write once; it is used for one takenStream after another.
type pen struct {
	buf   []byte
	out   []byte
	n     int
	err   error
	write func(fd uintptr) bool
	batch hub.Batch
}

func newPen() pen { return pen{buf: make([]byte, 0, 2*batchBytes)} }

func (p *pen) init() {
	p.write = func(fd uintptr) bool {
		for {
			n, err := unix.Write(int(fd), p.out)
			if err == unix.EINTR { //nolint:errorlint // a bare errno
				continue
			}
			p.n, p.err = max(n, 0), err
			return true // never wait: the poller says when there is room
		}
	}
}

// takeOver takes the stream and its connection into the reactor.
func takeOver(s *stream, conn net.Conn) error {
	kernels := bare(conn)
	if kernels == nil {
		return fmt.Errorf("a connection of type %T cannot be taken over", conn)
	}
	raw, err := kernels.SyscallConn()
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	v := &takenStream{stream: s, conn: conn, raw: raw, stuckAt: -1}
	if err := register(v); err != nil {
		return err
	}
	s.taken.Store(true)
	// From here on the writer is told, not the handler. It is told at once: what
	// came meanwhile woke the handler.
	s.setWake(v.enqueue)
	v.enqueue()
	return nil
}

func register(v *takenStream) error {
	shared.Lock()
	defer shared.Unlock()
	if shared.reactor == nil {
		f, err := newReactor()
		if err != nil {
			return err
		}
		shared.reactor = f
	}
	f := shared.reactor
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		v.slot, f.free = f.free[n-1], f.free[:n-1]
	} else {
		v.slot = uint32(len(f.taken))
		f.taken = append(f.taken, nil)
	}
	f.turn++
	v.turn = f.turn
	v.home = f.writers[int(f.turn)%len(f.writers)]
	f.taken[v.slot] = v
	f.active++
	// Edge-triggered: told once when there is room again, or the client leaves.
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(v.slot), Pad: int32(v.turn)}
	var ctl error
	if err := v.raw.Control(func(fd uintptr) { ctl = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, int(fd), &ev) }); err != nil || ctl != nil {
		f.leave(v)
		return errors.Join(err, ctl)
	}
	return nil
}

// newReactor starts a reactor.
func newReactor() (*reactor, error) {
	f := new(reactor)
	var err error
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if f.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(f.epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, f.stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		_ = unix.Close(f.epoll)
		_ = unix.Close(f.stop)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	f.writers = make([]*writer, runtime.GOMAXPROCS(0))
	for i := range f.writers {
		w := &writer{reactor: f, pen: newPen()}
		w.wake.L = &w.mu
		w.pen.init()
		f.writers[i] = w
		go w.run()
	}
	go f.poll()
	return f, nil
}

// quit takes a takenStream out; with the last one the reactor's goroutines end.
func (f *reactor) quit(v *takenStream) {
	shared.Lock()
	defer shared.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = v.raw.Control(func(fd uintptr) { _ = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) })
	f.leave(v)
}

// leave is called with both locks held.
func (f *reactor) leave(v *takenStream) {
	f.taken[v.slot] = nil
	f.free = append(f.free, v.slot)
	if f.active--; f.active > 0 {
		return
	}
	shared.reactor = nil
	one := [8]byte{1}
	_, _ = unix.Write(f.stop, one[:])
	for _, w := range f.writers {
		w.mu.Lock()
		w.quit = true
		w.mu.Unlock()
		w.wake.Signal()
	}
}

// poll hears from the kernel which clients left and which can be written to.
func (f *reactor) poll() {
	defer func() {
		_ = unix.Close(f.epoll)
		_ = unix.Close(f.stop)
	}()
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(f.epoll, events, -1)
		if err != nil && err != unix.EINTR { //nolint:errorlint // a bare errno
			return
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd < 0 {
				return
			}
			f.mu.Lock()
			var v *takenStream
			if slot := int(ev.Fd); slot < len(f.taken) {
				v = f.taken[slot]
			}
			f.mu.Unlock()
			if v == nil || v.turn != uint32(ev.Pad) {
				continue // an event of one that has left
			}
			if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				v.home.mu.Lock()
				v.gone = true
				v.home.mu.Unlock()
			}
			v.enqueue()
		}
	}
}

// enqueue has the takenStream's writer look at it.
func (v *takenStream) enqueue() {
	w := v.home
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enqueue(v)
}

func (w *writer) enqueue(v *takenStream) {
	switch {
	case v.queued || v.finished:
	case v.away:
		v.again = true
	default:
		v.queued = true
		w.ready = append(w.ready, v)
		if len(w.ready) == 1 {
			w.wake.Signal()
		}
	}
}

// gosched is after how many taken a writer lets others run.
const gosched = 32

func (w *writer) run() {
	var work []*takenStream
	for {
		w.mu.Lock()
		for len(w.ready) == 0 && !w.quit {
			w.wake.Wait()
		}
		if len(w.ready) == 0 {
			w.mu.Unlock()
			return
		}
		work, w.ready = w.ready, work[:0]
		w.mu.Unlock()
		for i, v := range work {
			if i%gosched == gosched-1 {
				runtime.Gosched() // webhooks are answered between writes
			}
			work[i] = nil
			w.mu.Lock()
			v.queued = false
			gone, late, skip := v.gone, v.late, v.finished
			if v.away {
				v.again, skip = true, true
			}
			w.mu.Unlock()
			switch {
			case skip:
			case gone:
				v.finish(endClient)
			case late:
				v.finish(endTimeout)
			default:
				v.serve(&w.pen)
			}
		}
	}
}
