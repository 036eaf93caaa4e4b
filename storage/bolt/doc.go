// Package bolt stores documents, and records that are derived from the log, in
// bbolt files. It knows bbolt's pages, buckets and transactions, and nothing of
// events.
//
// A file is checked page by page before bbolt maps it, because bbolt's pages
// have no checksums and bbolt trusts every pointer in them. Every value has its
// own CRC-32C.
package bolt

import (
	"time"

	"go.uber.org/zap"
)

// Options of a file. The zero value is usable.
type Options struct {
	// Logger logs damage.
	Logger *zap.Logger
	// LockTimeout is how long an open waits for another process that has the file
	// open; 0 means DefaultLockTimeout.
	LockTimeout time.Duration
	// Existing makes an open fail with storage.ErrDamaged if the file does not
	// exist.
	Existing bool

	// checkBytes is the largest size of a file that is checked before it is
	// opened; 0 means any size.
	checkBytes int64
	// maxSize limits the file in tests; 0 means no limit.
	maxSize int
	// noSync disables syncs in tests.
	noSync bool
}

// DefaultLockTimeout is the default of LockTimeout.
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
