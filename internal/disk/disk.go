// Package disk is the file system as a store uses it, as an interface, so that a
// simulated disk can stand in its place and lose what was not synced.
package disk

import "io"

// FS is a file system. Names are paths. A name that was created, renamed or
// removed is durable once the directory it stands in was synced.
type FS interface {
	// Create makes a file for reading and writing, which must not exist
	// (fs.ErrExist).
	Create(name string) (File, error)
	// Open opens a file for reading and writing; fs.ErrNotExist if there is none.
	Open(name string) (File, error)
	// Rename replaces newname if it exists.
	Rename(oldname, newname string) error
	// Remove removes a file; fs.ErrNotExist if there is none.
	Remove(name string) error
	// ReadDir lists the files of a directory in the order of their names.
	ReadDir(name string) ([]Entry, error)
	// MkdirAll makes a directory and those above it; their names are synced.
	MkdirAll(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
}

// Entry is a file of a directory.
type Entry struct {
	Name string
	Size int64
}

// File is an open file. What was written is durable once Sync has returned nil;
// after a Sync that failed it is unknown.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the file's contents and its size durable.
	Sync() error
	// Truncate sets the file's size.
	Truncate(size int64) error
	// Size is the file's size.
	Size() (int64, error)
}
