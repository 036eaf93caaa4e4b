package stream

import (
	"context"
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
)

// fleetSupported: connections can be taken over on this platform.
const fleetSupported = true

// vessel is a stream whose connection was taken over from net/http. It has no
// goroutine: one of the fleet's writers serves it whenever there is something to
// write, and never waits for its client. Only that writer touches the stream.
type vessel struct {
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

// fleet is the writers and the poller of all vessels. It lives while there are
// any; the next vessel after that founds another one.
type fleet struct {
	writers []*writer
	epoll   int
	stop    int // eventfd

	mu      sync.Mutex
	vessels []*vessel // by slot
	free    []uint32
	turn    uint32
	afloat  int

	stuck atomic.Int64

	log struct { // who reads the log for vessels that are behind
		sync.Mutex
		queue   []*vessel
		readers int
	}
}

// harbor is where the fleet of the process is found.
var harbor struct {
	sync.Mutex
	fleet *fleet
}

func currentFleet() *fleet {
	harbor.Lock()
	defer harbor.Unlock()
	return harbor.fleet
}

// writer writes to its share of the vessels.
type writer struct {
	fleet *fleet
	mu    sync.Mutex
	wake  sync.Cond
	ready []*vessel
	stuck []*vessel // whose kernel buffers are full
	quit  bool
	pen   pen
}

// pen is what is needed to write once; it is used for one vessel after another.
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

// minSilence is how long a peer may leave what it was sent unacknowledged, at
// the least.
const minSilence = 20 * time.Second

// sail takes the stream and its connection into the fleet.
func sail(s *stream, conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("a connection of type %T cannot be taken over", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	if _, ok := conn.(*net.TCPConn); ok {
		// A peer that went without a word takes whatever fits into the kernel's
		// buffers: little goes to an idle stream, so that would be hours.
		silence := max(2*s.timeout, minSilence)
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
		})
	}
	v := &vessel{stream: s, conn: conn, raw: raw, stuckAt: -1}
	if err := board(v); err != nil {
		return err
	}
	// From here on the writer is told, not the handler. It is told at once: what
	// came meanwhile woke the handler.
	s.setWake(v.enqueue)
	v.enqueue()
	return nil
}

func board(v *vessel) error {
	harbor.Lock()
	defer harbor.Unlock()
	if harbor.fleet == nil {
		f, err := launch()
		if err != nil {
			return err
		}
		harbor.fleet = f
	}
	f := harbor.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		v.slot, f.free = f.free[n-1], f.free[:n-1]
	} else {
		v.slot = uint32(len(f.vessels))
		f.vessels = append(f.vessels, nil)
	}
	f.turn++
	v.turn = f.turn
	v.home = f.writers[int(f.turn)%len(f.writers)]
	f.vessels[v.slot] = v
	f.afloat++
	// Edge-triggered: told once when there is room again, or the client leaves.
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(v.slot), Pad: int32(v.turn)}
	var ctl error
	if err := v.raw.Control(func(fd uintptr) { ctl = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, int(fd), &ev) }); err != nil || ctl != nil {
		f.leave(v)
		return errors.Join(err, ctl)
	}
	return nil
}

// launch founds a fleet.
func launch() (*fleet, error) {
	f := new(fleet)
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
		w := &writer{fleet: f, pen: newPen()}
		w.wake.L = &w.mu
		w.pen.init()
		f.writers[i] = w
		go w.run()
	}
	go f.poll()
	return f, nil
}

// quit takes a vessel out; with the last one the fleet's goroutines end.
func (f *fleet) quit(v *vessel) {
	harbor.Lock()
	defer harbor.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = v.raw.Control(func(fd uintptr) { _ = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) })
	f.leave(v)
}

// leave is called with both locks held.
func (f *fleet) leave(v *vessel) {
	f.vessels[v.slot] = nil
	f.free = append(f.free, v.slot)
	if f.afloat--; f.afloat > 0 {
		return
	}
	harbor.fleet = nil
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
func (f *fleet) poll() {
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
			var v *vessel
			if slot := int(ev.Fd); slot < len(f.vessels) {
				v = f.vessels[slot]
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

// enqueue has the vessel's writer look at it.
func (v *vessel) enqueue() {
	w := v.home
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enqueue(v)
}

func (w *writer) enqueue(v *vessel) {
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

// gosched is after how many vessels a writer lets others run.
const gosched = 32

func (w *writer) run() {
	var work []*vessel
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

// serve writes what there is for the vessel, as far as the kernel takes it.
func (v *vessel) serve(p *pen) {
	if len(v.rest) > 0 {
		if !v.flush(p) {
			return
		}
	}
	if v.end != "" {
		v.finish(v.end)
		return
	}
	buf, end := v.control(p.buf[:0])
	p.batch.Reset()
	if end == "" {
		err := v.sub.Poll(&p.batch, batchBytes)
		if errors.Is(err, hub.ErrBehind) {
			if len(buf) == 0 || v.send(p, buf, "") {
				v.read()
			}
			return
		}
		buf, end, err = v.judge(err, buf)
		if err != nil {
			v.finishErr(endError, err)
			return
		}
	}
	if len(buf)+len(p.batch.Frames) == 0 {
		return
	}
	if v.send(p, buf, end) && v.sub.Pending() {
		v.enqueue()
	}
}

// send writes control and the pen's batch, tells the subscription how far it
// came and reports whether all of it went out. With an end that finishes the
// stream.
func (v *vessel) send(p *pen, control []byte, end string) bool {
	frames := p.batch.Frames
	buf := control
	for _, f := range frames {
		buf = append(buf, f...)
	}
	if cap(buf) <= 4*batchBytes {
		p.buf = buf[:0]
	} else {
		p.buf = make([]byte, 0, 2*batchBytes)
	}
	n, ok := v.write(p, buf)
	if !ok {
		return false
	}
	if n == len(buf) {
		v.sub.Advance(&p.batch, len(frames))
		v.wrote(n, p.batch.Events)
		if end != "" {
			v.finish(end)
			return false
		}
		v.unstick()
		return true
	}
	// A frame that has begun must be ended; what comes after it comes again.
	taken, at := 0, len(control)
	for taken < len(frames) && at < n {
		at += len(frames[taken])
		taken++
	}
	v.rest = append([]byte(nil), buf[n:max(at, len(control))]...)
	v.sub.Advance(&p.batch, taken)
	v.wrote(n, max(0, taken-(len(frames)-p.batch.Events)))
	v.end = end
	v.stick(n > 0)
	return false
}

// flush writes the rest of the frame that was begun.
func (v *vessel) flush(p *pen) bool {
	n, ok := v.write(p, v.rest)
	if !ok {
		return false
	}
	v.wrote(n, 0)
	if v.rest = v.rest[n:]; len(v.rest) > 0 {
		v.stick(n > 0)
		return false
	}
	v.rest = nil
	v.unstick()
	return true
}

// write hands b to the kernel without waiting. ok is false if that ended the
// stream.
func (v *vessel) write(p *pen, b []byte) (n int, ok bool) {
	p.out, p.n, p.err = b, 0, nil
	err := v.raw.Write(p.write)
	p.out = nil
	if err == nil && p.err != nil && !errors.Is(p.err, unix.EAGAIN) {
		err = p.err
	}
	if err != nil {
		v.finishErr(endClient, err)
		return 0, false
	}
	return p.n, true
}

// stick notes that the client has to make room before anything can be written.
func (v *vessel) stick(progress bool) {
	w := v.home
	w.mu.Lock()
	defer w.mu.Unlock()
	if v.stuckAt < 0 {
		v.stuckAt = len(w.stuck)
		w.stuck = append(w.stuck, v)
		w.fleet.stuck.Add(1)
		progress = true
	}
	if progress {
		v.blocked = time.Now()
	}
}

func (v *vessel) unstick() {
	if v.stuckAt < 0 { // only this goroutine changes it
		return
	}
	w := v.home
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.stuck) - 1
	w.stuck[v.stuckAt] = w.stuck[last]
	w.stuck[v.stuckAt].stuckAt = v.stuckAt
	w.stuck[last] = nil
	w.stuck = w.stuck[:last]
	v.stuckAt = -1
	w.fleet.stuck.Add(-1)
}

func anyStuck() bool {
	f := currentFleet()
	return f != nil && f.stuck.Load() > 0
}

// checkStuck ends the streams of clients that have taken nothing for too long.
func checkStuck(now time.Time) {
	f := currentFleet()
	if f == nil || f.stuck.Load() == 0 {
		return
	}
	for _, w := range f.writers {
		w.mu.Lock()
		for _, v := range w.stuck {
			timeout := v.timeout
			if v.leaving() {
				timeout = min(timeout, farewellTimeout)
			}
			if now.Sub(v.blocked) > timeout {
				v.late = true
				w.enqueue(v)
			}
		}
		w.mu.Unlock()
	}
}

func (v *vessel) finish(end string) { v.finishErr(end, nil) }

func (v *vessel) finishErr(end string, err error) {
	v.unstick()
	w := v.home
	w.mu.Lock()
	v.finished = true
	w.mu.Unlock()
	w.fleet.quit(v)
	if end == endTimeout {
		reset(v.conn)
	} else {
		_ = v.conn.Close()
	}
	v.ended(end, err)
}

// logReaders bounds how many streams that fell behind are read for at once.
const logReaders = 4

// read has the log read for a stream that is behind, away from its writer.
func (v *vessel) read() {
	v.home.mu.Lock()
	v.away = true
	v.home.mu.Unlock()
	f := v.home.fleet
	f.log.Lock()
	defer f.log.Unlock()
	f.log.queue = append(f.log.queue, v)
	if f.log.readers < logReaders {
		f.log.readers++
		go f.readLog()
	}
}

func (f *fleet) readLog() {
	p := newPen()
	p.init()
	for {
		f.log.Lock()
		if len(f.log.queue) == 0 {
			f.log.readers--
			f.log.Unlock()
			return
		}
		v := f.log.queue[0]
		f.log.queue = f.log.queue[1:]
		f.log.Unlock()
		v.catchUp(&p)
	}
}

// fetchTimeout bounds one read of the log.
const fetchTimeout = 30 * time.Second

// catchUp writes one batch from the log, then gives the vessel back.
func (v *vessel) catchUp(p *pen) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	again := true
	err := v.sub.Fetch(ctx, &p.batch, batchBytes)
	switch {
	case err == nil && len(p.batch.Frames) == 0:
		v.sub.Advance(&p.batch, 0)
	case err == nil:
		again = v.send(p, p.buf[:0], "")
	default:
		buf, end, err := v.judge(err, p.buf[:0])
		switch {
		case err != nil:
			v.finishErr(endError, err)
		case end != "":
			p.batch.Reset()
			v.send(p, buf, end)
		}
		again = false
	}
	w := v.home
	w.mu.Lock()
	defer w.mu.Unlock()
	v.away = false
	if again || v.again {
		v.again = false
		w.enqueue(v)
	}
}
