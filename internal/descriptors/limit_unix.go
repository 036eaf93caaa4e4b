//go:build unix

package descriptors

import (
	"math"

	"golang.org/x/sys/unix"
)

// limit returns the soft limit of open files.
func limit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > math.MaxInt32 {
		return 0
	}
	return int(l.Cur) //nolint:gosec // checked
}
