package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// tmpExt is the extension of incomplete files.
const tmpExt = ".tmp"

// WriteFile writes a file atomically, and replaces one of the same name. The
// file is durable when WriteFile returns nil. A crash may leave name.tmp.
func WriteFile(fsys FS, name string, b []byte) error {
	tmp := name + tmpExt
	f, err := Recreate(fsys, tmp)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// Recreate creates an empty file, and replaces one that a crash left.
func Recreate(fsys FS, name string) (File, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return fsys.Create(name)
}
