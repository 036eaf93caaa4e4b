package bolt

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/osa-edge/osa-gateway/storage"
)

// gate lets callers in until it is shut.
type gate struct {
	use  sync.RWMutex // held for reading by those inside
	shut atomic.Bool
}

func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.use.RLock()
	if g.shut.Load() {
		g.use.RUnlock()
		return storage.ErrClosed
	}
	return nil
}

func (g *gate) leave() { g.use.RUnlock() }

// close turns newcomers away and waits for those inside; false if it was closed
// already.
func (g *gate) close() bool {
	if g.shut.Swap(true) {
		return false
	}
	g.use.Lock()
	defer g.use.Unlock()
	return true
}
