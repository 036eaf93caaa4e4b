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
	spaceEmergency // below half of it: no writes at all, and the ballast goes
)

const (
	spaceInterval = 500 * time.Millisecond
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

	mu   sync.Mutex // held by look
	held bool       // the ballast exists
	quit chan struct{}
	done chan struct{}
}

// openSpace is called before Badger opens, which needs space itself.
func openSpace(dir string, opt Options) *space {
	sp := &space{
		dir: dir, reserve: opt.Reserve, ballast: opt.Ballast, free: opt.freeSpace, log: opt.Logger,
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	_, err := os.Stat(sp.path())
	sp.held = err == nil
	sp.look()
	return sp
}

func (sp *space) path() string { return filepath.Join(sp.dir, ballastName) }

func (sp *space) start() {
	go func() {
		defer close(sp.done)
		t := time.NewTicker(spaceInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				sp.look()
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

// look measures and acts. Coming back takes an eighth more than the reserve, so
// that the level does not flap.
func (sp *space) look() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.spent.Store(0)
	free, err := sp.free(sp.dir)
	if err != nil {
		sp.log.Error("free disk space is unknown", zap.String("dir", sp.dir), zap.Error(err))
		return
	}
	// Where the ballast was given back, its bytes are not ours to spend.
	if !sp.held {
		free -= sp.ballast
	}
	before, enough := sp.level.Load(), sp.reserve
	if before != spaceEnough {
		enough += sp.reserve / 8
	}
	level := int32(spaceEnough)
	switch {
	case free < sp.reserve/2:
		level = spaceEmergency
		sp.drop()
	case free < enough:
		level = spaceLow
	case !sp.held && sp.ballast > 0:
		sp.load()
	}
	if level != before {
		sp.level.Store(level)
		fields := []zap.Field{zap.String("dir", sp.dir), zap.Int64("free", free), zap.Int64("reserve", sp.reserve)}
		switch level {
		case spaceEnough:
			sp.log.Info("disk space is back, accepting events", fields...)
		case spaceLow:
			sp.log.Error("disk space is below the reserve, refusing events", fields...)
		case spaceEmergency:
			sp.log.Error("disk is nearly full, refusing every write", fields...)
		}
	}
}

// drop gives the ballast back.
func (sp *space) drop() {
	if !sp.held {
		return
	}
	if err := os.Remove(sp.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		sp.log.Error("giving the ballast back", zap.Error(err))
		return
	}
	sp.held = false
}

// load makes the ballast.
func (sp *space) load() {
	f, err := os.OpenFile(sp.path(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		err = f.Truncate(sp.ballast)
		if err == nil {
			err = allocate(f, sp.ballast)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		sp.log.Warn("no ballast", zap.Error(err))
		_ = os.Remove(sp.path())
		return
	}
	sp.held = true
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
	return fmt.Errorf("%w: less than %d MiB left beside the reserve in %s", storage.ErrNoSpace, sp.reserve>>20, sp.dir)
}
