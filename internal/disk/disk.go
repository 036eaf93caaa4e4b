// Package disk is the file system interface of the store. Tests replace it with
// a simulated disk that loses data that was not synced.
package disk

import "io"

// FS is a file system. A name that was created, renamed or removed is durable
// once its directory was synced.
type FS interface {
	// Create creates a file for reading and writing. It returns fs.ErrExist if
	// the file exists.
	Create(name string) (File, error)
	// Open opens a file for reading and writing. It returns fs.ErrNotExist if
	// there is none.
	Open(name string) (File, error)
	// Rename renames a file and replaces newname if it exists.
	Rename(oldname, newname string) error
	// Remove removes a file. It returns fs.ErrNotExist if there is none.
	Remove(name string) error
	// ReadDir lists the files of a directory in order of their names.
	ReadDir(name string) ([]Entry, error)
	// MkdirAll creates a directory and its parents, and syncs their names.
	MkdirAll(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
}

// Entry is a file of a directory.
type Entry struct {
	Name string
	Size int64
}

// File is an open file. Written data is durable when Sync has returned nil.
// After a failed Sync its state is unknown.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the contents and the size durable.
	Sync() error
	// Truncate sets the size.
	Truncate(size int64) error
	// Size returns the size.
	Size() (int64, error)
}
