package badger

import (
	"context"
	"sync"

	"github.com/osa-edge/osa-gateway/storage"
)

// inflight lets operations in until the store closes, and tells when the last one
// has left. Operations may nest: a function that Scan calls may call Get.
type inflight struct {
	mu      sync.Mutex
	n       int
	closed  bool
	failed  bool            // nobody is let in any more; the owner has to close
	drained chan struct{}   // closed when nobody is left
	closing context.Context // ends when closing begins, or when a write failed
	cancel  context.CancelFunc
}

func newInflight() *inflight {
	g := &inflight{drained: make(chan struct{})}
	g.closing, g.cancel = context.WithCancel(context.Background())
	return g
}

func (g *inflight) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.failed {
		return storage.ErrClosed
	}
	g.n++
	return nil
}

// fail closes the store to everybody, after a write whose outcome is unknown.
func (g *inflight) fail() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = true
	g.cancel()
}

func (g *inflight) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.closed {
		close(g.drained)
	}
}

// close shuts the gate and waits; false if it was shut already.
func (g *inflight) close() bool {
	g.mu.Lock()
	first := !g.closed
	if first {
		g.closed = true
		g.cancel()
		if g.n == 0 {
			close(g.drained)
		}
	}
	g.mu.Unlock()
	<-g.drained
	return first
}

// interrupted is why something long should stop.
func (s *Store) interrupted(ctx context.Context) error {
	if s.inflight.closing.Err() != nil {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// withClose is ctx, ended also when the store closes.
func (s *Store) withClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.inflight.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
