//go:build !linux

package stream

import (
	"errors"
	"net"
	"time"
)

// takeoverSupported: every stream stays with its handler.
const takeoverSupported = false

func takeOver(*stream, net.Conn) error { return errors.ErrUnsupported }

func blocked() int { return 0 }

func tune(net.Conn, time.Duration) {}

func checkStuck(time.Time) {}
