//go:build !linux

package connections

import "net"

// unread is unknown on this platform.
func unread(net.Conn) bool { return false }
