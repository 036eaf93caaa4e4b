//go:build !linux

package diskguard

import (
	"io/fs"
	"math"
	"os"
)

// allocate reserves disk space for the first n bytes of f.
func allocate(f *os.File, n int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < n; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), n-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// FreeSpace is unlimited, because it cannot be measured here. The reserve is not
// guarded.
func FreeSpace(string) (int64, error) { return math.MaxInt64, nil }

// Allocated returns the size of the file.
func Allocated(info fs.FileInfo) int64 { return info.Size() }
