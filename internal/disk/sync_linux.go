package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData syncs the contents and the size, but no times.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

func syncNames(f *os.File) error {
	return retryEINTR(func() error { return unix.Fsync(int(f.Fd())) })
}
