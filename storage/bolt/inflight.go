package bolt

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/osa-edge/osa-gateway/storage"
)

// inflight lets callers in until it is shut.
type inflight struct {
	mu     sync.RWMutex // held for reading by those inside
	closed atomic.Bool
}

func (g *inflight) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.RLock()
	if g.closed.Load() {
		g.mu.RUnlock()
		return storage.ErrClosed
	}
	return nil
}

func (g *inflight) end() { g.mu.RUnlock() }

// close turns newcomers away and waits for those inside; false if it was closed
// already.
func (g *inflight) close() bool {
	if g.closed.Swap(true) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return true
}
