package badger

import (
	"context"
	"sync"

	"github.com/osa-edge/osa-gateway/storage"
)

// broadcast is a number that increases and that several callers wait for.
type broadcast struct {
	mu    sync.Mutex
	value uint64
	rise  chan struct{} // Closed at the next increase. nil while nobody waits.
}

func (b *broadcast) set(v uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.value = max(b.value, v)
	if b.rise != nil {
		close(b.rise)
		b.rise = nil
	}
}

// wait returns the number as soon as it is greater than after. It returns
// storage.ErrClosed when closing is closed.
func (b *broadcast) wait(ctx context.Context, closing <-chan struct{}, after uint64) (uint64, error) {
	for {
		b.mu.Lock()
		if b.value > after {
			defer b.mu.Unlock()
			return b.value, nil
		}
		if b.rise == nil {
			b.rise = make(chan struct{})
		}
		rise := b.rise
		b.mu.Unlock()
		select {
		case <-rise:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-closing:
			return 0, storage.ErrClosed
		}
	}
}
