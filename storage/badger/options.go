package badger

import (
	"strings"

	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"

	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
)

// Defaults of Options.
const (
	DefaultReserve = 256 << 20
	DefaultBallast = 64 << 20
)

// Options of a store. The zero value is good.
type Options struct {
	// Logger takes what Badger has to say; its own INFO is debug here.
	Logger *zap.Logger
	// Reserve is the free disk space in bytes below which commits are refused;
	// 0 means DefaultReserve, a negative value none. What is in memory must
	// still be written then, by writing to mapped files, which a full disk
	// answers with SIGBUS: the reserve has to hold what memory still holds and
	// a compaction of all of level 0 and its share of the next beside its input,
	// some 200 MiB. What larger logs take beside it is added: see room.go.
	Reserve int64
	// Ballast is the size in bytes of a file that is given back to the file
	// system when others have eaten the reserve: one half then, and the other
	// before the store closes; 0 means DefaultBallast, a negative value none.
	Ballast int64

	// freeSpace stands in for the file system's answer in tests.
	freeSpace func(dir string) (int64, error)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	o.Reserve = max(0, orDefault(o.Reserve, DefaultReserve))
	o.Ballast = max(0, orDefault(o.Ballast, DefaultBallast))
	if o.Reserve == 0 {
		o.Ballast = 0 // nobody would give it back
	}
	if o.freeSpace == nil {
		o.freeSpace = freeSpace
	}
	return o
}

func orDefault(v, def int64) int64 {
	if v == 0 {
		return def
	}
	return v
}

const (
	// memTableSize is small, because so is what follows from it: the files that
	// stand between two others' syncs while they are written out, what is replayed
	// at a start, and the buffers of tables in the making, of which Badger keeps
	// up to eight.
	memTableSize = 8 << 20
	// maxTxn is what a transaction may hold: Badger's 15 % of a memtable, less
	// something for keys and for what it counts besides.
	maxTxn = memTableSize*15/100 - 128<<10
	// maxValue keeps values out of the value log: it is never synced, never
	// collected, and never used.
	maxValue = 1<<20 - 1024
)

func badgerOptions(dir string, log *zap.Logger) bdg.Options {
	return bdg.DefaultOptions(dir).
		WithLogger(logger{log.Sugar()}).
		WithMetricsEnabled(false).
		// Commits are synced by us, one sync each instead of Badger's two: see wal.go.
		WithSyncWrites(false).
		// All writers hold a mutex where they need one.
		WithDetectConflicts(false).
		WithMemTableSize(memTableSize).
		WithNumMemtables(5).
		WithNumLevelZeroTables(10).
		WithNumLevelZeroTablesStall(20).
		// Level 0 goes into a level of this size: with Badger's 10 MiB there is one
		// more level that everything is written to again.
		WithBaseLevelSize(64 << 20).
		// Blocks hold several of our values, which are some 20 KiB. Badger's 4 KiB
		// are too small for one: it grows the buffer twice, copies what is in it,
		// and keeps all three until the table is written. As nothing compresses
		// blocks, a reader takes from one no more than the entry that it wants.
		WithBlockSize(64 << 10).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		// Blocks compress themselves, once (block.go), and everything that follows
		// has a third of the bytes to move. CPU and disk an event of 1 KiB, batches
		// of 64: 1.0 and 428 bytes; without any compression 1.9 and 1,330; Badger's
		// Snappy 1.7 and 429, its ZSTD 2.5 and 328, both again at each compaction.
		// Then there is no need of a cache beside the page cache, from which
		// Badger reads.
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(2 << 20)
}

// logger is Badger's view of a zap logger.
type logger struct{ log *zap.SugaredLogger }

func (l logger) Errorf(format string, args ...any) { l.log.Errorf(strings.TrimSpace(format), args...) }
func (l logger) Warningf(format string, args ...any) {
	l.log.Warnf(strings.TrimSpace(format), args...)
}
func (l logger) Infof(format string, args ...any) { l.log.Debugf(strings.TrimSpace(format), args...) }

// Debugf is silent: Badger writes a line a commit.
func (l logger) Debugf(string, ...any) {}
