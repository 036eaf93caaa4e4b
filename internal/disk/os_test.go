package disk

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestOS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(OS.MkdirAll(dir))
	must(OS.MkdirAll(dir))
	must(OS.MkdirAll(filepath.Join(dir, "sub")))
	name := filepath.Join(dir, "x")
	if _, err := OS.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	f, err := OS.Create(name)
	must(err)
	if _, err := OS.Create(name); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("hello"), 3)
	must(err)
	must(f.Sync())
	must(f.Truncate(6))
	if size, err := f.Size(); err != nil || size != 6 {
		t.Fatal(size, err)
	}
	must(OS.Rename(name, filepath.Join(dir, "y")))
	must(OS.SyncDir(dir))
	entries, err := OS.ReadDir(dir)
	if must(err); len(entries) != 1 || entries[0] != (Entry{Name: "y", Size: 6}) {
		t.Fatalf("%v", entries)
	}
	must(OS.Remove(filepath.Join(dir, "y")))
	if err := OS.Remove(filepath.Join(dir, "y")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	must(ReadFull(f, b, 3))
	if string(b) != "hel" {
		t.Fatalf("%q", b)
	}
	if err := ReadFull(f, b, 4); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	must(f.Close())
}
