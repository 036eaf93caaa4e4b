package badger

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

// Levels of free space.
const (
	spaceEnough    = iota
	spaceLow       // below the reserve: no more events
	spaceEmergency // below half of it: no writes at all
)

const (
	// spaceInterval passes between two looks, and spaceHurry where the reserve is
	// near: others may write as fast as the disk takes it.
	spaceInterval = 500 * time.Millisecond
	spaceHurry    = 10 * time.Millisecond
	// spaceBurst is what may be written between two looks at the disk.
	spaceBurst  = 4 << 20
	ballastName = "ballast"
)

// space watches free disk space, so that a full disk is met with refusals while
// there is still room to write what was accepted before.
type space struct {
	dir     string
	reserve int64
	ballast int64
	free    func(dir string) (int64, error)
	log     *zap.Logger

	level atomic.Int32
	spent atomic.Int64

	mu   sync.Mutex // guards kept
	kept int64      // of the ballast
	quit chan struct{}
	done chan struct{}
}

// openSpace is called before the rest of the store opens, which needs space itself.
func openSpace(dir string, opt Options) *space {
	sp := &space{
		dir: dir, reserve: opt.Reserve, ballast: opt.Ballast, free: opt.freeSpace, log: opt.Logger,
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	if info, err := os.Stat(sp.path()); err == nil {
		sp.kept = info.Size()
	}
	sp.look()
	sp.yield()
	return sp
}

// yield gives the rest of the ballast back where space is short, before the store
// opens or closes, which both have to write.
func (sp *space) yield() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.level.Load() == spaceEmergency {
		sp.keep(0)
	}
}

func (sp *space) path() string { return filepath.Join(sp.dir, ballastName) }

func (sp *space) start() {
	go func() {
		defer close(sp.done)
		t := time.NewTimer(spaceInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				t.Reset(sp.look())
			case <-sp.quit:
				return
			}
		}
	}()
}

func (sp *space) stop() {
	close(sp.quit)
	<-sp.done
}

// look measures and acts, and tells when to look again. Coming back takes an
// eighth more than the reserve, so that the level does not flap.
func (sp *space) look() (again time.Duration) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.spent.Store(0)
	free, err := sp.free(sp.dir)
	if err != nil {
		sp.log.Error("free disk space is unknown", zap.String("dir", sp.dir), zap.Error(err))
		return spaceInterval
	}
	// Of the ballast that was given back, the bytes are not ours to spend.
	left := free
	free -= max(0, sp.ballast-sp.kept)
	before, enough := sp.level.Load(), sp.reserve
	if before != spaceEnough {
		enough += sp.reserve / 8
	}
	level := int32(spaceEnough)
	switch {
	case free < sp.reserve/2:
		level = spaceEmergency
		if left < sp.reserve/8 && sp.kept > sp.ballast/2 {
			sp.keep(sp.ballast / 2) // for what is being sealed; the rest is for Close
		}
	case free < enough:
		level = spaceLow
	case sp.kept < sp.ballast:
		sp.fill()
	}
	if level != before {
		sp.level.Store(level)
		fields := []zap.Field{zap.String("dir", sp.dir), zap.Int64("free", free), zap.Int64("needed", sp.reserve)}
		switch level {
		case spaceEnough:
			sp.log.Info("disk space is back, accepting events", fields...)
		case spaceLow:
			sp.log.Error("disk space is below what is needed, refusing events", fields...)
		case spaceEmergency:
			sp.log.Error("disk is nearly full, refusing every write", fields...)
		}
	}
	if free < 2*sp.reserve {
		return spaceHurry
	}
	return spaceInterval
}

// keep cuts the ballast down.
func (sp *space) keep(n int64) {
	var err error
	if n == 0 {
		err = os.Remove(sp.path())
	} else {
		err = os.Truncate(sp.path(), n)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		sp.log.Error("giving the ballast back", zap.Error(err))
		return
	}
	sp.kept = n
}

// fill makes the ballast whole.
func (sp *space) fill() {
	f, err := os.OpenFile(sp.path(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(sp.ballast), allocate(f, sp.ballast), f.Close())
	}
	if err != nil {
		sp.log.Warn("no ballast", zap.Error(err))
		sp.keep(0)
		return
	}
	sp.kept = sp.ballast
}

// admit is nil, or why n bytes cannot be written at this level.
func (sp *space) admit(n int64, until int32) error {
	if sp.spent.Add(n) > spaceBurst {
		sp.look()
	}
	return sp.allows(until)
}

// allows is nil while the level is below until.
func (sp *space) allows(until int32) error {
	if sp.level.Load() < until {
		return nil
	}
	return fmt.Errorf("%w: below the %d MiB that are needed in %s", storage.ErrNoSpace, sp.reserve>>20, sp.dir)
}
