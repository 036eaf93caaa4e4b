package eventlog

import (
	"context"
	"errors"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

// Writable returns nil, or the reason why an event would be refused: the store
// cannot be written, or too many events are waiting. It is cheap, so that
// callers can ask before they read a request.
func (l *Log) Writable() error {
	err := l.refuses()
	if err != nil {
		l.opt.Observer.Refused(err)
	}
	return err
}

// AcquireSlot waits up to two seconds for a slot to append an event whose body
// has size bytes. A caller with work to do before the append acquires the slot
// first, so that no work is done for an event that will be refused. The slot is
// held until a.Release.
func (l *Log) AcquireSlot(ctx context.Context, a *admission.Admission, size int) error {
	err := l.refuses()
	if err == nil {
		err = a.AcquireSlot(ctx, l.opt.Admission, int64(size), l.stop)
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			err = ErrClosed
		}
	}
	if err != nil && ctx.Err() == nil {
		l.opt.Observer.Refused(err)
	}
	return err
}
