package reactor

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bufferBytes is what a writer's buffer begins with. It grows for large payloads
// and shrinks again after those of more than maxBufferBytes.
const (
	bufferBytes    = 64 << 10
	maxBufferBytes = 128 << 10
)

// writer writes to its share of the connections.
type writer struct {
	reactor *reactor
	mu      sync.Mutex
	wake    sync.Cond
	ready   []*Conn
	blocked []*Conn // whose kernel buffers are full
	quit    bool
	buffer  writeBuffer
}

// writeBuffer is what is needed to write once; it is used for one connection after
// another.
type writeBuffer struct {
	bytes   []byte
	payload Payload

	// What the functions below take and leave.
	out      []byte
	n        int
	err      error
	room     room
	writable bool

	write func(fd uintptr) bool
	ask   func(fd uintptr)
}

func (b *writeBuffer) init() {
	b.bytes = make([]byte, 0, bufferBytes)
	b.write = func(fd uintptr) bool {
		for {
			n, err := unix.Write(int(fd), b.out)
			if err == unix.EINTR { //nolint:errorlint // a bare errno
				continue
			}
			b.n, b.err = max(n, 0), err
			return true // never wait: the poller says when there is room
		}
	}
	b.ask = func(fd uintptr) { b.room, b.writable, b.err = askRoom(int(fd)) }
}

// keep keeps the array of bytes that were written, for the next.
func (b *writeBuffer) keep(bytes []byte) {
	if cap(bytes) <= maxBufferBytes {
		b.bytes = bytes[:0]
	} else {
		b.bytes = make([]byte, 0, bufferBytes)
	}
}

// Wake has the connection's Source asked for what there is to write. It does not
// block.
func (c *Conn) Wake() {
	c.writer.mu.Lock()
	defer c.writer.mu.Unlock()
	c.writer.enqueue(c)
}

// Drop resets the connection: its Source ends with this reason, and an error that
// says nothing. It does not block.
func (c *Conn) Drop(end string) {
	c.writer.mu.Lock()
	defer c.writer.mu.Unlock()
	c.drop = end
	c.writer.enqueue(c)
}

func (w *writer) enqueue(c *Conn) {
	switch {
	case c.queued || c.finished:
	case c.away:
		c.again = true
	default:
		c.queued = true
		w.ready = append(w.ready, c)
		if len(w.ready) == 1 {
			w.wake.Signal()
		}
	}
}

// yieldAfter is after how many connections a writer lets others run.
const yieldAfter = 32

func (w *writer) run() {
	var work []*Conn
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
		for i, c := range work {
			if i%yieldAfter == yieldAfter-1 {
				runtime.Gosched() // webhooks are answered between writes
			}
			work[i] = nil
			w.mu.Lock()
			c.queued = false
			gone, drop, input, skip := c.gone, c.drop, c.input, c.finished
			if c.away {
				c.again, skip = true, true
			} else {
				c.input = false
			}
			w.mu.Unlock()
			switch {
			case skip:
			case drop != "":
				c.finish(drop, nil)
			case gone:
				c.finish(EndGone, nil)
			case input && c.inputs < maxInputs:
				c.looking = true
				c.leaveFor(w.reactor)
			default:
				c.serve(&w.buffer)
			}
		}
	}
}

// block notes that the client has to make room before anything can be written.
func (c *Conn) block(progress bool) {
	w := c.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.blockedAt < 0 {
		c.blockedAt = len(w.blocked)
		w.blocked = append(w.blocked, c)
		w.reactor.blocked.Add(1)
		progress = true
	}
	if progress {
		c.blocked = time.Now()
	}
}

func (c *Conn) unblock() {
	if c.blockedAt < 0 { // only this goroutine changes it
		return
	}
	w := c.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.blocked) - 1
	w.blocked[c.blockedAt] = w.blocked[last]
	w.blocked[c.blockedAt].blockedAt = c.blockedAt
	w.blocked[last] = nil
	w.blocked = w.blocked[:last]
	c.blockedAt = -1
	w.reactor.blocked.Add(-1)
}

// Blocked is how many connections wait for their client to make room.
func Blocked() int {
	r := current()
	if r == nil {
		return 0
	}
	return int(r.blocked.Load())
}

// CheckBlocked ends the connections whose client has made no room for its source's
// Timeout.
func CheckBlocked(now time.Time) {
	r := current()
	if r == nil || r.blocked.Load() == 0 {
		return
	}
	for _, w := range r.writers {
		w.mu.Lock()
		for _, c := range w.blocked {
			if now.Sub(c.blocked) > c.source.Timeout() {
				c.drop = EndTimeout
				w.enqueue(c)
			}
		}
		w.mu.Unlock()
	}
}
