package badger

import (
	"context"
	"sync"

	"github.com/osa-edge/osa-gateway/storage"
)

// inflight counts the running calls, so that close can wait for them. Calls may
// nest: a function that Scan calls may call Get.
type inflight struct {
	mu      sync.Mutex
	n       int
	closed  bool
	failed  bool            // No more calls are accepted. The owner has to close the store.
	drained chan struct{}   // Closed when no call is running.
	closing context.Context // Ends when closing begins or a write failed.
	cancel  context.CancelFunc
}

func newInflight() *inflight {
	g := &inflight{drained: make(chan struct{})}
	g.closing, g.cancel = context.WithCancel(context.Background())
	return g
}

// begin registers a call. It returns storage.ErrClosed if the store is closed
// or has failed.
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

// fail refuses all further calls after a write with an unknown outcome.
func (g *inflight) fail() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = true
	g.cancel()
}

// end ends a call.
func (g *inflight) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.closed {
		close(g.drained)
	}
}

// close refuses new calls and waits for the running ones. It returns false if
// it was called before.
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

// interrupted returns the error with which a long operation should stop, or
// nil.
func (s *Store) interrupted(ctx context.Context) error {
	if s.inflight.closing.Err() != nil {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// withClose returns a context that ends with ctx or when the store closes.
func (s *Store) withClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.inflight.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
