package format1

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
)

// walExt ends the names of write-ahead logs.
const walExt = ".mem"

// wasClosed says whether there is no write-ahead log, as a clean end leaves it.
func wasClosed(dir string) bool {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), walExt) {
			return false
		}
	}
	return err == nil
}

// removeEmpty removes log files without a single byte. A process that is killed
// between making such a file and giving it its size, or between emptying and
// removing one, leaves it behind, and Badger refuses to open over it. Nothing
// that was committed was ever in it.
func removeEmpty(dir string, log *zap.Logger) error {
	if len(emptyFiles(dir)) == 0 {
		return nil
	}
	// To another process it may be the file that it is just making.
	unlock, err := lockDir(dir)
	if errors.Is(err, errLocked) {
		return nil // opening will say who holds it
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

// errLocked: another process holds the directory.
var errLocked = errors.New("directory is locked")
