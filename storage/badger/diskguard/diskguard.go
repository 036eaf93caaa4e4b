// Package diskguard watches the free space of a store's file system. It refuses
// writes while there is still enough space to finish what was accepted before.
//
// It knows the directory, the reserve and the ballast file. It knows nothing of
// what is written.
package diskguard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// BallastName is the name of the ballast file in the store's directory.
const BallastName = "ballast"

// Burst is how many bytes may be written between two measurements.
const Burst = 4 << 20

const (
	interval = 500 * time.Millisecond
	// lowInterval is the interval near the reserve, where other programs may
	// write as fast as the disk allows.
	lowInterval = 10 * time.Millisecond
)

// Levels of free space.
const (
	levelOK       = iota
	levelLow      // Below the reserve: events are refused.
	levelCritical // Below half of the reserve: every write is refused.
)

// Options of a guard.
type Options struct {
	// Reserve is the free space in bytes below which events are refused.
	Reserve int64
	// Ballast is the size in bytes of a file whose space is given back when the
	// disk is nearly full.
	Ballast int64
	// FreeSpace measures the free space; nil means FreeSpace of this package.
	FreeSpace func(dir string) (int64, error)
	Logger    *zap.Logger
}

// Guard watches one directory.
type Guard struct {
	dir string
	opt Options

	level atomic.Int32
	spent atomic.Int64 // Bytes written since the last measurement.

	mu      sync.Mutex // Guards ballast.
	ballast int64      // The current size of the ballast file.
	quit    chan struct{}
	done    chan struct{}
}

// New measures the free space of dir. Where the disk is nearly full it removes the
// ballast, because opening a store needs space. Start has to follow.
func New(dir string, opt Options) *Guard {
	if opt.FreeSpace == nil {
		opt.FreeSpace = FreeSpace
	}
	g := &Guard{dir: dir, opt: opt, quit: make(chan struct{}), done: make(chan struct{})}
	if info, err := os.Stat(g.path()); err == nil {
		g.ballast = info.Size()
	}
	g.Measure()
	g.releaseBallast()
	return g
}

// Start measures at intervals until Stop is called.
func (g *Guard) Start() {
	go func() {
		defer close(g.done)
		t := time.NewTimer(interval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				t.Reset(g.Measure())
			case <-g.quit:
				return
			}
		}
	}()
}

// Stop ends the measurements. Where the disk is nearly full it removes the ballast,
// because closing a store needs space.
func (g *Guard) Stop() {
	close(g.quit)
	<-g.done
	g.releaseBallast()
}

// AllowEvent returns storage.ErrNoSpace while events are refused. n is how many
// bytes the caller is about to write.
func (g *Guard) AllowEvent(n int64) error { return g.allow(n, levelLow) }

// AllowWrite returns storage.ErrNoSpace while every write is refused. n is how many
// bytes the caller is about to write.
func (g *Guard) AllowWrite(n int64) error { return g.allow(n, levelCritical) }

func (g *Guard) allow(n int64, refusedFrom int32) error {
	if g.spent.Add(n) > Burst {
		g.Measure()
	}
	if g.level.Load() < refusedFrom {
		return nil
	}
	return fmt.Errorf("%w: below the %d MiB that are needed in %s", storage.ErrNoSpace, g.opt.Reserve>>20, g.dir)
}

// Measure measures the free space, sets the level, and returns the time until the
// next measurement. Recovery needs an eighth more than the reserve, so that the
// level does not flap.
func (g *Guard) Measure() (next time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent.Store(0)
	free, err := g.opt.FreeSpace(g.dir)
	if err != nil {
		g.opt.Logger.Error("free disk space is unknown", zap.String("dir", g.dir), zap.Error(err))
		return interval
	}
	// The space that the ballast gave back does not count as free.
	left := free
	free -= max(0, g.opt.Ballast-g.ballast)
	before, enough := g.level.Load(), g.opt.Reserve
	if before != levelOK {
		enough += g.opt.Reserve / 8
	}
	level := int32(levelOK)
	switch {
	case free < g.opt.Reserve/2:
		level = levelCritical
		if left < g.opt.Reserve/8 && g.ballast > g.opt.Ballast/2 {
			// One half is for segments that are being sealed, the other for Stop.
			g.shrinkBallast(g.opt.Ballast / 2)
		}
	case free < enough:
		level = levelLow
	case g.ballast < g.opt.Ballast:
		g.fillBallast()
	}
	if level != before {
		g.level.Store(level)
		g.report(level, free)
	}
	if free < 2*g.opt.Reserve {
		return lowInterval
	}
	return interval
}

func (g *Guard) report(level int32, free int64) {
	fields := []zap.Field{zap.String("dir", g.dir), zap.Int64("free", free), zap.Int64("needed", g.opt.Reserve)}
	switch level {
	case levelOK:
		g.opt.Logger.Info("disk space is back, accepting events", fields...)
	case levelLow:
		g.opt.Logger.Error("disk space is below what is needed, refusing events", fields...)
	case levelCritical:
		g.opt.Logger.Error("disk is nearly full, refusing every write", fields...)
	}
}

func (g *Guard) path() string { return filepath.Join(g.dir, BallastName) }

func (g *Guard) releaseBallast() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.level.Load() == levelCritical {
		g.shrinkBallast(0)
	}
}

// shrinkBallast cuts the ballast file to n bytes, or removes it. The caller holds
// mu.
func (g *Guard) shrinkBallast(n int64) {
	var err error
	if n == 0 {
		err = os.Remove(g.path())
	} else {
		err = os.Truncate(g.path(), n)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.opt.Logger.Error("giving the ballast back", zap.Error(err))
		return
	}
	g.ballast = n
}

// fillBallast makes the ballast file as large as configured. The caller holds mu.
func (g *Guard) fillBallast() {
	f, err := os.OpenFile(g.path(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(g.opt.Ballast), allocate(f, g.opt.Ballast), f.Close())
	}
	if err != nil {
		g.opt.Logger.Warn("no ballast", zap.Error(err))
		g.shrinkBallast(0)
		return
	}
	g.ballast = g.opt.Ballast
}
