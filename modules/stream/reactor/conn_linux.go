package reactor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// serve writes what there is for the connection, as far as the kernel takes it.
func (c *Conn) serve(b *writeBuffer) {
	if len(c.rest) > 0 && !c.flush(b) {
		return
	}
	if c.end != "" {
		c.close(b, c.end)
		return
	}
	p := &b.payload
	p.reset(b.bytes)
	c.source.Next(p)
	if c.deliver(b) && (p.Again || c.source.Pending()) {
		c.Wake()
	}
}

// deliver writes the payload and reports whether the connection waits for nothing
// else.
func (c *Conn) deliver(b *writeBuffer) (idle bool) {
	p := &b.payload
	switch {
	case p.Err != nil:
		c.finish(EndError, p.Err)
		return false
	case p.empty() && p.End != "":
		c.close(b, p.End)
		return false
	case !p.empty() && !c.send(b):
		return false
	case p.Fetch:
		c.leaveFor(c.writer.reactor)
		return false
	}
	return p.Again || !p.empty()
}

// send writes the payload, tells the source how far it came and reports whether
// all of it went out. With an end that closes the connection.
func (c *Conn) send(b *writeBuffer) bool {
	p := &b.payload
	head := len(p.Head)
	buf := p.Head
	for _, f := range p.Frames {
		buf = append(buf, f...)
	}
	b.keep(buf)
	n, err := c.write(b, buf)
	if err != nil {
		c.failed(err)
		return false
	}
	if n == len(buf) {
		c.source.Sent(n, len(p.Frames))
		c.unblock()
		if p.End != "" {
			c.close(b, p.End)
			return false
		}
		return true
	}
	// A frame that has begun must be ended; what comes after it comes again.
	begun, at := 0, head
	for begun < len(p.Frames) && at < n {
		at += len(p.Frames[begun])
		begun++
	}
	c.rest = append([]byte(nil), buf[n:max(at, head)]...)
	c.end = p.End
	c.source.Sent(n, begun)
	c.block(n > 0)
	return false
}

// flush writes the rest of the frame that was begun.
func (c *Conn) flush(b *writeBuffer) bool {
	n, err := c.write(b, c.rest)
	if err != nil {
		c.failed(err)
		return false
	}
	c.source.Sent(n, 0)
	if c.rest = c.rest[n:]; len(c.rest) > 0 {
		c.block(n > 0)
		return false
	}
	c.rest = nil
	c.unblock()
	return true
}

// write hands p to the kernel without waiting.
func (c *Conn) write(b *writeBuffer, p []byte) (n int, err error) {
	if c.tls != nil {
		return c.writeTLS(b, p)
	}
	b.out, b.n, b.err = p, 0, nil
	err = c.raw.Write(b.write)
	b.out = nil
	if err == nil && b.err != nil && !errors.Is(b.err, unix.EAGAIN) {
		err = b.err
	}
	return b.n, err
}

func (c *Conn) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.finish(EndTimeout, err)
		return
	}
	c.finish(EndGone, err)
}

// close ends the connection in good order: what was written last arrives.
func (c *Conn) close(b *writeBuffer, end string) {
	if c.tls != nil {
		ok, err := c.closeNotify(b)
		if err != nil {
			c.failed(err)
			return
		}
		if !ok {
			c.end = end
			c.block(false)
			return
		}
	}
	c.finish(end, nil)
}

// finish lets go of the connection. The client of one that is dropped gets nothing
// more.
func (c *Conn) finish(end string, err error) {
	c.unblock()
	w := c.writer
	w.mu.Lock()
	c.finished = true
	dropped := c.drop != "" || end == EndTimeout
	w.mu.Unlock()
	w.reactor.unregister(c)
	switch {
	case dropped:
		Reset(c.net)
	case end == EndGone:
		_ = c.net.Close()
	default:
		c.hangUp()
	}
	c.source.Ended(end, err)
}

const (
	// unreadBytes is how much is read of what a client sent.
	unreadBytes = 256 << 10
	// unreadDelay is what net/http gives such clients too.
	unreadDelay = 500 * time.Millisecond
)

// hangUp closes the connection so that the client gets what was written last. If
// anything that it sent were left unread (another request, a body), the kernel
// would reset the connection instead, and some clients' kernels then drop what
// they have not handed over yet.
func (c *Conn) hangUp() {
	sent, scratch := 0, make([]byte, 4096)
	_ = c.raw.Read(func(fd uintptr) bool {
		for sent < unreadBytes {
			n, err := unix.Read(int(fd), scratch)
			if n <= 0 && err != unix.EINTR { //nolint:errorlint // a bare errno
				break
			}
			sent += max(n, 0)
		}
		return true // never wait
	})
	if half, ok := c.kernel.(interface{ CloseWrite() error }); sent > 0 && ok && half.CloseWrite() == nil {
		time.AfterFunc(unreadDelay, func() { _ = c.net.Close() })
		return
	}
	_ = c.net.Close()
}
