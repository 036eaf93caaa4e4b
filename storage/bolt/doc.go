// Package bolt keeps documents, and records that are derived from the log, in
// bbolt files.
//
// A file is checked page by page before bbolt maps it: bbolt's pages carry no
// checksums, and it trusts every pointer in them. Every value carries a CRC-32C
// of its own.
package bolt

import (
	"time"

	"go.uber.org/zap"
)

// Options of a file. The zero value is good.
type Options struct {
	// Logger is told of damage.
	Logger *zap.Logger
	// LockTimeout is how long an open waits for another process to let go of the
	// file; 0 means DefaultLockTimeout.
	LockTimeout time.Duration
	// Existing refuses to make the file where it is missing (storage.ErrDamaged).
	Existing bool

	// checkBytes is the size up to which a file is checked before it is opened; 0 is
	// no bound.
	checkBytes int64
	// maxSize bounds the file in tests; 0 is no bound.
	maxSize int
	// noSync spares tests the disk.
	noSync bool
}

// DefaultLockTimeout is LockTimeout's default.
const DefaultLockTimeout = 500 * time.Millisecond

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	return o
}
