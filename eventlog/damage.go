package eventlog

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// maxDamage bounds how many damaged ranges are remembered as told.
const maxDamage = 1024

// damage remembers which ranges have been told of in the log.
type damage struct {
	mu   sync.Mutex
	told map[storage.Range]struct{}
}

// first reports whether the range was not told of yet.
func (d *damage) first(r storage.Range) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, told := d.told[r]; told || len(d.told) >= maxDamage {
		return false
	}
	if d.told == nil {
		d.told = make(map[storage.Range]struct{})
	}
	d.told[r] = struct{}{}
	return true
}

// scan is the store's Scan, save that it goes on after what is damaged.
func (l *Log) scan(ctx context.Context, store storage.Store, after, through uint64, fn func(*event.Event) bool) error {
	for stopped := false; ; {
		err := store.Scan(ctx, after, through, func(e *event.Event) bool {
			after = e.Seq
			stopped = !fn(e)
			return !stopped
		})
		var d *storage.DamageError
		if !errors.As(err, &d) {
			return err
		}
		if l.damage.first(d.Range) {
			l.log.Error("events are damaged and left out", zap.Uint64("first", d.First), zap.Uint64("last", d.Last), zap.Error(err))
		}
		if d.Last <= after {
			return err // it does not say where to go on
		}
		if after = d.Last; after >= through || stopped {
			return nil
		}
	}
}
