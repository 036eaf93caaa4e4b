package format1

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
)

// walExt is the file name extension of write-ahead logs.
const walExt = ".mem"

// wasClosed reports whether the store was closed cleanly: there is no
// write-ahead log then.
func wasClosed(dir string) bool {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), walExt) {
			return false
		}
	}
	return err == nil
}

// removeEmpty deletes empty log files. A process that is killed between
// creating and sizing such a file, or between truncating and deleting one,
// leaves it, and Badger refuses to open the directory. An empty file never held
// committed data.
func removeEmpty(dir string, log *zap.Logger) error {
	if len(emptyFiles(dir)) == 0 {
		return nil
	}
	// Another process may be creating the file right now.
	unlock, err := lockDir(dir)
	if errors.Is(err, errLocked) {
		return nil // Opening returns the error.
	}
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range emptyFiles(dir) {
		log.Warn("removing an empty file that a killed process left", zap.String("file", name))
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func emptyFiles(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // opening will say so
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), walExt) && !strings.HasSuffix(e.Name(), ".vlog") {
			continue
		}
		if info, err := e.Info(); err == nil && info.Size() == 0 {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// errLocked means that another process has locked the directory.
var errLocked = errors.New("directory is locked")
