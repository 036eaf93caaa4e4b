package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// readers hold many streams open from few threads, and cost little beside the
// server that they measure: all but a few streams are only counted.
type readers struct {
	epolls   []int
	streams  sync.Map // fd → *reading
	fds      []int
	conns    []net.Conn   // over TLS
	received atomic.Int64 // events, all streams
	bytes    atomic.Int64
	closed   atomic.Int64
	stop     atomic.Bool
	done     sync.WaitGroup

	mu      sync.Mutex
	sampled []time.Duration
}

// reading is one stream.
type reading struct {
	tail   [3]byte // of what was read last
	sample bool
	line   []byte
}

// mark begins every event that is counted.
var mark = []byte("\nid:")

// samplers is on how many streams the lateness of events is measured.
const samplers = 16

func newReaders(threads int) (*readers, error) {
	r := new(readers)
	for range threads {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return nil, err
		}
		r.epolls = append(r.epolls, fd)
		r.done.Add(1)
		go r.run(fd)
	}
	return r, nil
}

// open opens n streams; path may depend on the stream.
func (r *readers) open(address string, n int, path func(i int) string) error {
	tcp, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return err
	}
	to := &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	every := max(1, n/samplers)
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// Many more connections than one address has ports: spread them.
		from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(1 + i/16000), 1}}
		if err := errors.Join(unix.Bind(fd, from), unix.Connect(fd, to)); err != nil {
			return fmt.Errorf("connecting stream %d: %w", i, err)
		}
		req := "GET " + path(i) + " HTTP/1.1\r\nHost: " + address + "\r\nAccept: text/event-stream\r\n\r\n"
		if _, err := unix.Write(fd, []byte(req)); err != nil {
			return err
		}
		if err := answered(fd); err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		r.streams.Store(fd, &reading{sample: i%every == 0, tail: [3]byte{2: '\n'}})
		r.fds = append(r.fds, fd)
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(r.epolls[i%len(r.epolls)], unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return err
		}
	}
	return nil
}

// answered reads up to the end of the response's header.
func answered(fd int) error {
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	var head []byte
	for one := make([]byte, 1); ; {
		n, err := unix.Read(fd, one)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("no answer after %q: %w", head, err)
		}
		if head = append(head, one[0]); bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			break
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", head)
	}
	return nil
}

func (r *readers) run(epoll int) {
	defer r.done.Done()
	defer unix.Close(epoll)
	events := make([]unix.EpollEvent, 512)
	buf := make([]byte, 3+256<<10)
	for !r.stop.Load() {
		n, err := unix.EpollWait(epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, ev := range events[:max(0, n)] {
			fd := int(ev.Fd)
			v, ok := r.streams.Load(fd)
			if !ok {
				continue
			}
			s := v.(*reading)
			n, err := unix.Read(fd, buf[3:])
			if n <= 0 {
				if !errors.Is(err, unix.EAGAIN) {
					r.closed.Add(1)
					r.streams.Delete(fd)
					_ = unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil)
				}
				continue
			}
			r.got(s, buf, n)
		}
	}
}

// got counts what came: n bytes after the first three of buf.
func (r *readers) got(s *reading, buf []byte, n int) {
	copy(buf, s.tail[:])
	r.bytes.Add(int64(n))
	if count := bytes.Count(buf[:3+n], mark); count > 0 {
		r.received.Add(int64(count))
	}
	copy(s.tail[:], buf[n:])
	if s.sample {
		r.late(s, buf[3:3+n])
	}
}

var stamp = []byte(`"timestamp":"`)

// late measures how old the events are that end in b.
func (r *readers) late(s *reading, b []byte) {
	now := time.Now()
	s.line = append(s.line, b...)
	for {
		end := bytes.Index(s.line, []byte("\n\n"))
		if end < 0 {
			return
		}
		if _, rest, ok := bytes.Cut(s.line[:end], stamp); ok {
			value, _, _ := bytes.Cut(rest, []byte(`"`))
			if t, err := time.Parse(time.RFC3339Nano, string(value)); err == nil && bytes.Contains(s.line[:end], []byte("id:")) {
				r.mu.Lock()
				r.sampled = append(r.sampled, now.Sub(t))
				r.mu.Unlock()
			}
		}
		s.line = append(s.line[:0], s.line[end+2:]...)
	}
}

// lateness takes the sample since the last call: its median and 99th percentile.
func (r *readers) lateness() (p50, p99 time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sampled
	r.sampled = nil
	if len(s) == 0 {
		return 0, 0
	}
	slices.Sort(s)
	return s[len(s)/2], s[len(s)*99/100]
}

func (r *readers) close() {
	r.stop.Store(true)
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.done.Wait()
	for _, fd := range r.fds {
		_ = unix.Close(fd)
	}
}
