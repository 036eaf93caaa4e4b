package badger

import (
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage/badger/diskguard"
)

// Defaults of Options.
const (
	DefaultReserve     = 256 << 20
	DefaultBallast     = 64 << 20
	DefaultFilterBytes = 32 << 20
	DefaultTableBytes  = 64 << 20
)

// Options of a store. The zero value is usable.
type Options struct {
	Logger *zap.Logger
	// Reserve is the free disk space in bytes below which commits are refused; 0
	// means DefaultReserve, a negative value none. Accepted events must still be
	// sealed then: the reserve has to hold the sealed form of a few segments and
	// one prepared file.
	Reserve int64
	// Ballast is the size in bytes of a file that is deleted when other programs
	// have used up the reserve: one half at that time, the other before the store
	// closes. 0 means DefaultBallast, a negative value none.
	Ballast int64
	// FilterBytes limits the memory of the filter of dedup keys; 0 means
	// DefaultFilterBytes.
	FilterBytes int64
	// TableBytes limits the memory of the tables of unsealed segments; 0 means
	// DefaultTableBytes. While more would be needed, commits are refused
	// (storage.ErrBusy).
	TableBytes int64
	// Files is how many sealed files are open at the same time; 0 means 96.
	Files int
	// Poisoned means that the store was closed after a failed write or sync. No
	// existing file is appended to.
	Poisoned bool

	// freeSpace replaces the measurement in tests.
	freeSpace func(dir string) (int64, error)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	o.Reserve = max(0, orDefault(o.Reserve, DefaultReserve))
	o.Ballast = max(0, orDefault(o.Ballast, DefaultBallast))
	o.FilterBytes = orDefault(o.FilterBytes, DefaultFilterBytes)
	o.TableBytes = orDefault(o.TableBytes, DefaultTableBytes)
	if o.Reserve == 0 {
		o.Ballast = 0 // Without a reserve nothing would ever delete the ballast.
	}
	if o.freeSpace == nil {
		o.freeSpace = diskguard.FreeSpace
	}
	return o
}

func orDefault(v, def int64) int64 {
	if v == 0 {
		return def
	}
	return v
}
