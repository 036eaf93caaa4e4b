//go:build !linux

package reactor

import (
	"errors"
	"net"
	"time"
)

// Supported is whether connections can be taken over on this platform.
const Supported = false

// Conn is a connection that was taken over.
type Conn struct{}

// Take is not supported here.
func Take(net.Conn, Source) (*Conn, error) { return nil, errors.ErrUnsupported }

// Wake has the connection's Source asked for what there is to write.
func (*Conn) Wake() {}

// Drop resets the connection.
func (*Conn) Drop(string) {}

// Active is how many connections were taken over and are open.
func Active() int { return 0 }

// Blocked is how many of them wait for their client to make room.
func Blocked() int { return 0 }

// CheckBlocked ends those that have waited for too long.
func CheckBlocked(time.Time) {}

// Tune prepares a connection for a stream.
func Tune(net.Conn, time.Duration) {}

// Silence tells for how long a peer has acknowledged nothing of what it was sent.
type Silence struct{}

// NewSilence is nil where nobody can tell.
func NewSilence(net.Conn) *Silence { return nil }

// Since is zero where nothing waits to be acknowledged.
func (*Silence) Since(time.Time) time.Time { return time.Time{} }
