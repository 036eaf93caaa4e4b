package badger

import (
	"context"
	"sync"

	"github.com/osa-edge/osa-gateway/storage"
)

// gate lets operations in until the store closes, and tells when the last one
// has left. Operations may nest: a function that Scan calls may call Get.
type gate struct {
	mu      sync.Mutex
	n       int
	closed  bool
	failed  bool            // nobody is let in any more; the owner has to close
	empty   chan struct{}   // closed when nobody is left
	closing context.Context // ends when closing begins, or when a write failed
	shut    context.CancelFunc
}

func newGate() *gate {
	g := &gate{empty: make(chan struct{})}
	g.closing, g.shut = context.WithCancel(context.Background())
	return g
}

func (g *gate) enter(ctx context.Context) error {
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
func (g *gate) fail() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = true
	g.shut()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.closed {
		close(g.empty)
	}
}

// close shuts the gate and waits; false if it was shut already.
func (g *gate) close() bool {
	g.mu.Lock()
	first := !g.closed
	if first {
		g.closed = true
		g.shut()
		if g.n == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	<-g.empty
	return first
}

// interrupted is why something long should stop.
func (s *Store) interrupted(ctx context.Context) error {
	if s.gate.closing.Err() != nil {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// untilClosing is ctx, ended also when the store closes.
func (s *Store) untilClosing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.gate.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
