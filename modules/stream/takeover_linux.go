package stream

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/hub"
)

// serve writes what there is for the takenStream, as far as the kernel takes it.
func (v *takenStream) serve(p *pen) {
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
func (v *takenStream) send(p *pen, control []byte, end string) bool {
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
		v.advance(&p.batch, len(frames))
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
	v.advance(&p.batch, taken)
	v.wrote(n, max(0, taken-(len(frames)-p.batch.Events)))
	v.end = end
	v.stick(n > 0)
	return false
}

// flush writes the rest of the frame that was begun.
func (v *takenStream) flush(p *pen) bool {
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
func (v *takenStream) write(p *pen, b []byte) (n int, ok bool) {
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
func (v *takenStream) stick(progress bool) {
	w := v.home
	w.mu.Lock()
	defer w.mu.Unlock()
	if v.stuckAt < 0 {
		v.stuckAt = len(w.stuck)
		w.stuck = append(w.stuck, v)
		w.reactor.stuck.Add(1)
		progress = true
	}
	if progress {
		v.blocked = time.Now()
	}
}

func (v *takenStream) unstick() {
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
	w.reactor.stuck.Add(-1)
}

// blocked is how many streams' clients have to make room.
func blocked() int {
	f := currentReactor()
	if f == nil {
		return 0
	}
	return int(f.stuck.Load())
}

// checkStuck ends the streams of clients that have taken nothing for too long.
func checkStuck(now time.Time) {
	f := currentReactor()
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

func (v *takenStream) finish(end string) { v.finishErr(end, nil) }

func (v *takenStream) finishErr(end string, err error) {
	v.unstick()
	w := v.home
	w.mu.Lock()
	v.finished = true
	w.mu.Unlock()
	w.reactor.quit(v)
	switch end {
	case endTimeout:
		reset(v.conn)
	case endClient:
		_ = v.conn.Close()
	default:
		v.hangUp()
	}
	v.endedApart(end, err)
}

const (
	// unreadBytes is how much is read of what a client sent on a stream.
	unreadBytes = 256 << 10
	// unreadDelay is what net/http gives such clients too.
	unreadDelay = 500 * time.Millisecond
)

// hangUp closes the connection so that the client gets what was written last. If
// anything that it sent were left unread (another request, a body), the kernel
// would reset the connection instead, and some clients' kernels then drop what
// they have not handed over yet.
func (v *takenStream) hangUp() {
	sent, scratch := 0, make([]byte, 4096)
	_ = v.raw.Read(func(fd uintptr) bool {
		for sent < unreadBytes {
			n, err := unix.Read(int(fd), scratch)
			if n <= 0 && err != unix.EINTR { //nolint:errorlint // a bare errno
				break
			}
			sent += max(n, 0)
		}
		return true // never wait
	})
	if half, ok := bare(v.conn).(interface{ CloseWrite() error }); sent > 0 && ok && half.CloseWrite() == nil {
		time.AfterFunc(unreadDelay, func() { _ = v.conn.Close() })
		return
	}
	_ = v.conn.Close()
}

// logReaders bounds how many streams that fell behind are read for at once.
const logReaders = 4

// read has the log read for a stream that is behind, away from its writer.
func (v *takenStream) read() {
	v.home.mu.Lock()
	v.away = true
	v.home.mu.Unlock()
	f := v.home.reactor
	f.log.Lock()
	defer f.log.Unlock()
	f.log.queue.Push(v.workspace, v)
	if f.log.readers < logReaders {
		f.log.readers++
		go f.readLog()
	}
}

func (f *reactor) readLog() {
	p := newPen()
	p.init()
	for {
		f.log.Lock()
		v, ok := f.log.queue.Pop()
		if !ok {
			f.log.readers--
			f.log.Unlock()
			return
		}
		f.log.Unlock()
		v.catchUp(&p)
	}
}

// fetchTimeout bounds one read of the log.
const fetchTimeout = 30 * time.Second

// catchUp writes one batch from the log, then gives the takenStream back.
func (v *takenStream) catchUp(p *pen) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	again := true
	err := v.sub.Fetch(ctx, &p.batch, batchBytes)
	switch {
	case err == nil && len(p.batch.Frames) == 0:
		v.advance(&p.batch, 0)
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
