package format1

import (
	"strings"

	bdg "github.com/dgraph-io/badger/v4"
	bdgoptions "github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
)

// options are those that the store was written with, as far as files depend on
// them.
func options(dir string, log *zap.Logger) bdg.Options {
	if log == nil {
		log = zap.NewNop()
	}
	return bdg.DefaultOptions(dir).
		WithLogger(logger{log.Sugar()}).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		WithMemTableSize(8 << 20).
		WithNumMemtables(5).
		WithNumLevelZeroTables(10).
		WithNumLevelZeroTablesStall(20).
		WithBaseLevelSize(64 << 20).
		WithBlockSize(64 << 10).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		// Blocks of events are compressed by themselves.
		WithCompression(bdgoptions.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(2 << 20)
}

// logger is Badger's view of a zap logger; its INFO is debug here.
type logger struct{ log *zap.SugaredLogger }

func (l logger) Errorf(format string, args ...any) { l.log.Errorf(strings.TrimSpace(format), args...) }
func (l logger) Warningf(format string, args ...any) {
	l.log.Warnf(strings.TrimSpace(format), args...)
}
func (l logger) Infof(format string, args ...any) { l.log.Debugf(strings.TrimSpace(format), args...) }

// Debugf is silent: Badger writes a line a commit.
func (l logger) Debugf(string, ...any) {}
