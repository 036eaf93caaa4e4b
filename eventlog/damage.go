package eventlog

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// maxDamage bounds how many damaged ranges are remembered as reported.
const maxDamage = 1024

// damage remembers which damaged ranges were already reported.
type damage struct {
	mu       sync.Mutex
	reported map[storage.Range]struct{}
}

// firstReport reports whether the range was not reported before.
func (d *damage) firstReport(r storage.Range) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, told := d.reported[r]; told || len(d.reported) >= maxDamage {
		return false
	}
	if d.reported == nil {
		d.reported = make(map[storage.Range]struct{})
	}
	d.reported[r] = struct{}{}
	return true
}

// scan is the store's Scan, except that it continues after damaged events.
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
		if l.damage.firstReport(d.Range) {
			l.log.Error("events are damaged and left out", zap.Uint64("first", d.First), zap.Uint64("last", d.Last), zap.Error(err))
		}
		if d.Last <= after {
			return err // The error does not say where to continue.
		}
		if after = d.Last; after >= through || stopped {
			return nil
		}
	}
}
