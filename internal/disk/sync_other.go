//go:build !linux

package disk

import (
	"os"
	"runtime"
)

func syncData(f *os.File) error { return f.Sync() }

// syncNames syncs a directory. Windows cannot do that.
func syncNames(f *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return f.Sync()
}
