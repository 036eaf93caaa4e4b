//go:build !linux

package stream

import (
	"errors"
	"net"
	"time"
)

// fleetSupported: every stream stays with its handler.
const fleetSupported = false

func sail(*stream, net.Conn) error { return errors.ErrUnsupported }

func anyStuck() bool { return false }

func checkStuck(time.Time) {}
