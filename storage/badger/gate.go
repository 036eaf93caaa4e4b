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
	failed  bool          // nobody is let in any more; the owner has to close
	closing chan struct{} // closed when closing begins, or when a write failed
	empty   chan struct{} // closed when nobody is left
}

func newGate() gate { return gate{closing: make(chan struct{}), empty: make(chan struct{})} }

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
	if !g.failed && !g.closed {
		close(g.closing)
	}
	g.failed = true
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
		if !g.failed {
			close(g.closing)
		}
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
	select {
	case <-s.gate.closing:
		return storage.ErrClosed
	default:
		return ctx.Err()
	}
}
