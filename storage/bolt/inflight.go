package bolt

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/osa-edge/osa-gateway/storage"
)

// inflight counts the running calls, so that close can wait for them.
type inflight struct {
	mu     sync.RWMutex // Held for reading by running calls.
	closed atomic.Bool
}

// begin registers a call. It returns storage.ErrClosed after close.
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

// end ends a call.
func (g *inflight) end() { g.mu.RUnlock() }

// close refuses new calls and waits for the running ones. It returns false if
// it was called before.
func (g *inflight) close() bool {
	if g.closed.Swap(true) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return true
}
