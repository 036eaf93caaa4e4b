package reactor

import (
	"errors"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A TLS record must go out whole: once its beginning is with the kernel there is
// no other way to go on than to wait for the rest. So a TLS connection is written
// to only as far as the kernel is known to have room, and frames are cut before
// they are encrypted.

// room is what the kernel takes without blocking, at the least. It shrinks with
// what is written and is asked for again when it is used up: meanwhile the client
// can only make it larger.
type room struct {
	memory int // of the send buffer that is free, as the kernel counts it
	unsent int // bytes until TCP_NOTSENT_LOWAT
}

const (
	// recordMemory is what a record may take of the send buffer besides its bytes,
	// of which each is counted threefold: the kernel counts whole buffers, and a
	// connection's first 128 KiB go out in records of one packet each.
	recordMemory = 4 << 10
	memoryFactor = 3
	// leastBytes fit into one packet. Where the kernel calls a socket writable, a
	// third of its send buffer is free and half of what may be unsent, which is
	// more.
	leastBytes = 512
	// maxStall bounds how long a writer may be held up if the kernel takes less
	// than it said, which it may when all sockets together have too much memory.
	maxStall = time.Second
)

// bytes is how much plaintext there is room for.
func (r room) bytes() int {
	return min((r.memory-recordMemory)/memoryFactor, (r.unsent-128)/16*15)
}

func (r *room) take(n int) {
	r.memory -= n*memoryFactor + recordMemory
	r.unsent -= n/15*16 + 128
}

// askRoom asks the kernel. Where there is little, writable tells whether there is
// room for leastBytes; if not, epoll will say when there is.
func askRoom(fd int) (r room, writable bool, err error) {
	var memory [9]uint32 // SK_MEMINFO_*
	size := uint32(unsafe.Sizeof(memory))
	const sendBuffer, queued = 3, 5
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&memory)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 { //nolint:gosec // the call's own arguments
		return room{}, false, os.NewSyscallError("getsockopt", errno)
	}
	unsent, err := unix.IoctlGetInt(fd, unix.SIOCOUTQNSD)
	if err != nil {
		return room{}, false, os.NewSyscallError("ioctl", err)
	}
	r = room{memory: int(memory[sendBuffer]) - int(memory[queued]), unsent: unsentBytes - unsent}
	if r.bytes() >= leastBytes {
		return r, true, nil
	}
	// This also has the kernel note that somebody waits for room.
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		_, err := unix.Poll(poll[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return r, poll[0].Revents&(unix.POLLOUT|unix.POLLERR|unix.POLLHUP) != 0, os.NewSyscallError("poll", err)
	}
}

// writeTLS writes as much of p as there is room for.
func (c *Conn) writeTLS(b *writeBuffer, p []byte) (n int, err error) {
	for n < len(p) {
		size, err := c.roomFor(b, len(p)-n)
		if err != nil || size == 0 {
			return n, err
		}
		if _, err := c.tls.Write(p[n : n+size]); err != nil {
			return n, err
		}
		n += size
	}
	return n, nil
}

// roomFor is how much of n bytes can be written now, and takes the room for it.
func (c *Conn) roomFor(b *writeBuffer, n int) (int, error) {
	size := min(n, c.room.bytes())
	if size < min(n, leastBytes) {
		err := c.raw.Control(b.ask)
		if err = errors.Join(err, b.err); err != nil {
			return 0, err
		}
		c.room = b.room
		if size = min(n, c.room.bytes()); size < min(n, leastBytes) {
			if !b.writable {
				return 0, nil
			}
			size = min(n, leastBytes)
		}
	}
	c.room.take(size)
	if now := time.Now(); now.Add(maxStall / 2).After(c.deadline) {
		c.deadline = now.Add(maxStall)
		return size, c.net.SetWriteDeadline(c.deadline)
	}
	return size, nil
}

// closeNotify tells the client that nothing more comes. It is false where there is
// no room for that yet.
func (c *Conn) closeNotify(b *writeBuffer) (bool, error) {
	size, err := c.roomFor(b, leastBytes)
	if err != nil || size == 0 {
		return false, err
	}
	return true, c.tls.CloseWrite()
}

const (
	// maxInputs is how often a client's bytes are looked at.
	maxInputs = 32
	// inputTimeout bounds one look: what was sent may be half a record.
	inputTimeout = 2 * time.Millisecond
)

// readInput reads what a TLS client has sent. A client may end TLS and leave the
// connection open; net/http takes that for its end too. Anything else that it
// sends is of no use, and nothing is read after it.
func (c *Conn) readInput() (gone bool) {
	c.inputs++
	c.deadline = time.Time{}
	c.room = room{} // a key update is answered
	_ = c.net.SetDeadline(time.Now().Add(inputTimeout))
	var scratch [256]byte
	n, err := c.tls.Read(scratch[:])
	_ = c.net.SetReadDeadline(time.Time{})
	var timeout net.Error
	switch {
	case n > 0:
		c.inputs = maxInputs
		return false
	case err == nil, errors.As(err, &timeout) && timeout.Timeout():
		return false
	}
	return true
}
