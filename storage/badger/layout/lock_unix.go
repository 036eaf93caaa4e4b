//go:build unix

package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/storage"
)

// lockFile holds the id of the process that has the lock, for error messages.
const lockFile = "LOCK"

// Lock locks a directory. It uses Badger's lock, so that an older version
// and this one exclude each other.
func Lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, lockedError(dir)
		}
		return nil, err
	}
	name := filepath.Join(dir, lockFile)
	// The lock works without the id.
	_ = os.WriteFile(name, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
	return func() {
		_ = os.Remove(name)
		_ = f.Close() // Closing releases the lock.
	}, nil
}

func lockedError(dir string) error {
	if pid, err := os.ReadFile(filepath.Join(dir, lockFile)); err == nil && len(pid) > 1 {
		return fmt.Errorf("%w: %s is held by process %s", storage.ErrLocked, dir, strings.TrimSpace(string(pid)))
	}
	return fmt.Errorf("%w: %s", storage.ErrLocked, dir)
}
