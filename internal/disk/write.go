package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// tmpExt ends the name of a file that is not complete.
const tmpExt = ".tmp"

// WriteFile puts a file in place of one of the same name: whole or not at all, and
// for good when it returns nil. A crash may leave name.tmp.
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

// Recreate makes an empty file, in place of what a crash left under its name.
func Recreate(fsys FS, name string) (File, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return fsys.Create(name)
}
